#include "query/downsample.h"

#include "base/attr.h"
#include "base/check.h"

/*
 * Calendar buckets. A bucket starts a whole number of steps after its base, and the base is a
 * calendar boundary (the minute, the day, the year, ...) chosen by unit and count. At the next base
 * the count starts again, so the last bucket before a base may be short. The grid depends on the
 * specification and the zone alone: every series of a query has the same one.
 */

enum { DAY_MS = 86400000, EPOCH_YEAR = 1970 };

/* Calendar intervals beyond this (about 300 years) are plain multiples of milliseconds. */
#define CALENDAR_MS_MAX INT64_C(10000000000000)

/* 1970-01-04, the first Sunday. */
#define FIRST_SUNDAY_MS INT64_C(259200000)

enum base { BASE_SECOND, BASE_MINUTE, BASE_HOUR, BASE_DAY, BASE_MONTH, BASE_YEAR, BASE_EPOCH };

/* The shortest that each base can be: a count that is longer needs a wider base. */
static const int64_t base_ms[] = {
    [BASE_SECOND] = 1000,
    [BASE_MINUTE] = 60000,
    [BASE_HOUR] = 3600000,
    [BASE_DAY] = DAY_MS,
    [BASE_MONTH] = 28 * (int64_t)DAY_MS,
    [BASE_YEAR] = 365 * (int64_t)DAY_MS,
    [BASE_EPOCH] = INT64_MAX,
};

static enum rc invalid(struct err *err, str text, const char *why) {
    return err_set(err, RC_INVALID, "Invalid downsampling specifier '%.*s': %s", STR_ARG(text),
                   why);
}

static bool find_fill(str name, enum fill *fill) {
    static const char *const names[] = {"none", "nan", "null", "zero", "scalar"};
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        if (!str_eq_nocase(name, str_of(names[i])))
            continue;
        *fill = (enum fill)i;
        return true;
    }
    return false;
}

static enum rc parse_interval(str text, struct downsample *downsample, struct err *err) {
    if (text.n >= 3 && str_eq(str_from(text, text.n - 3), STR("all"))) {
        downsample->all = true;
        return RC_OK;
    }
    if (text.n > 0 && text.p[text.n - 1] == 'c') {
        downsample->calendar = true;
        text.n--;
    }
    TRY(timezone_parse_duration(text, &downsample->interval_ms, err));
    char last = (char)(text.p[text.n - 1] | 0x20);
    bool milliseconds = last == 's' && (text.p[text.n - 2] | 0x20) == 'm';
    downsample->unit = milliseconds ? 'i' : last;
    for (size_t i = 0; text.p[i] >= '0' && text.p[i] <= '9'; i++)
        downsample->count = downsample->count * 10 + (text.p[i] - '0');
    return RC_OK;
}

enum rc downsample_parse(str text, struct downsample *downsample, struct err *err) {
    *downsample = (struct downsample){.unit = 'i'};
    str parts[3] = {{"", 0}, {"", 0}, {"", 0}};
    size_t count = 0;
    str split = text;
    while (split.n > 0 && split.p[split.n - 1] == '-')
        split.n--; /* as Java's split: empty parts at the end do not count */
    for (str rest = split;; rest = str_from(rest, parts[count - 1].n + 1)) {
        if (count == COUNT_OF(parts))
            return invalid(err, text,
                           "must consist of interval, function, and optional fill policy");
        parts[count++] = (str){rest.p, str_find(rest, '-')};
        if (parts[count - 1].n == rest.n)
            break;
    }
    if (count < 2)
        return invalid(err, text, "must provide at least interval and function");
    TRY(parse_interval(parts[0], downsample, err));
    if (!aggregator_find(parts[1], &downsample->function))
        return err_set(err, RC_INVALID, "No such downsampling function: %.*s", STR_ARG(parts[1]));
    if (downsample->function == AGGREGATOR_NONE)
        return err_set(err, RC_INVALID, "cannot use the NONE aggregator for downsampling");
    if (count == 3 && !find_fill(parts[2], &downsample->fill))
        return err_set(err, RC_INVALID, "Unrecognized fill policy: %.*s", STR_ARG(parts[2]));
    return RC_OK;
}

/* ---- buckets ---- */

static int64_t floor_to(int64_t value, int64_t step) {
    int64_t rest = value % step;
    return rest < 0 ? value - rest - step : value - rest;
}

static int64_t to_local(const struct timezone *zone, int64_t time_ms) {
    return time_ms + timezone_offset_ms(zone, time_ms);
}

/* The base that OpenTSDB counts from, widened until the interval fits. */
static enum base base_of(const struct downsample *downsample) {
    int64_t count = downsample->count;
    enum base base = BASE_YEAR;
    switch (downsample->unit) {
    case 'i':
        base = 1000 % count == 0 ? BASE_SECOND : BASE_MINUTE;
        break;
    case 's':
        base = 60 % count == 0 ? BASE_MINUTE : BASE_HOUR;
        break;
    case 'm':
        base = 60 % count == 0 ? BASE_HOUR : BASE_DAY;
        break;
    case 'h':
        base = 24 % count == 0 ? BASE_DAY : BASE_MONTH;
        break;
    case 'd':
        base = count == 1 ? BASE_DAY : BASE_YEAR;
        break;
    case 'w':
        /* One and two weeks run on across the years. */
        base = count <= 2 ? BASE_EPOCH : BASE_YEAR;
        break;
    default:
        break;
    }
    while (downsample->interval_ms > base_ms[base])
        base++;
    return base;
}

/* Start of the second, minute or hour on the local clock; where the clock was put forward or back
   in between, the instant of the change. */
static int64_t clock_base(const struct timezone *zone, int64_t time_ms, int64_t length_ms) {
    int64_t local_ms = to_local(zone, time_ms);
    int64_t low = time_ms - (local_ms - floor_to(local_ms, length_ms));
    int64_t offset_ms = timezone_offset_ms(zone, time_ms);
    if (timezone_offset_ms(zone, low) == offset_ms)
        return low;
    int64_t high = time_ms;
    while (high - low > 1) {
        int64_t middle = low + (high - low) / 2;
        if (timezone_offset_ms(zone, middle) == offset_ms)
            high = middle;
        else
            low = middle;
    }
    return high;
}

static int64_t base_instant(const struct timezone *zone, enum base base, int64_t time_ms) {
    if (base < BASE_DAY)
        return clock_base(zone, time_ms, base_ms[base]);
    struct civil civil;
    timezone_civil(to_local(zone, time_ms), &civil);
    int64_t year = base == BASE_EPOCH ? EPOCH_YEAR : civil.year;
    int64_t month = base <= BASE_MONTH ? civil.month : 1;
    int64_t day = base == BASE_DAY ? civil.day : 1;
    return timezone_from_local_ms(zone, timezone_local_ms(year, month, day, 0));
}

/* Units that are of one length everywhere: a bucket is a number of milliseconds after its base. */
static int64_t clock_bucket(const struct downsample *downsample, int64_t time_ms) {
    int64_t base = base_instant(downsample->timezone, base_of(downsample), time_ms);
    return base + floor_to(time_ms - base, downsample->interval_ms);
}

/* Local midnights `days` apart, counted from a base that is a local midnight itself. */
static int64_t day_bucket(const struct downsample *downsample, int64_t time_ms, int64_t days,
                          int64_t base_local_ms) {
    int64_t local_ms = floor_to(to_local(downsample->timezone, time_ms), DAY_MS);
    int64_t start = base_local_ms + floor_to(local_ms - base_local_ms, days * DAY_MS);
    return timezone_from_local_ms(downsample->timezone, start);
}

/* The Sunday on or before January 1, as local milliseconds. */
static int64_t first_week_of(int64_t year) {
    return FIRST_SUNDAY_MS +
           floor_to(timezone_local_ms(year, 1, 1, 0) - FIRST_SUNDAY_MS, 7 * (int64_t)DAY_MS);
}

static int64_t week_bucket(const struct downsample *downsample, int64_t time_ms) {
    int64_t base_local_ms = FIRST_SUNDAY_MS;
    if (base_of(downsample) == BASE_YEAR) {
        int64_t local_ms = to_local(downsample->timezone, time_ms);
        struct civil civil;
        timezone_civil(local_ms, &civil);
        /* The last days of December may belong to the first week of the next year. */
        base_local_ms = first_week_of(civil.year + 1);
        if (local_ms < base_local_ms)
            base_local_ms = first_week_of(civil.year);
    }
    return day_bucket(downsample, time_ms, 7 * downsample->count, base_local_ms);
}

/* Firsts of months `months` apart. */
static int64_t month_bucket(const struct downsample *downsample, int64_t time_ms, int64_t months) {
    struct civil civil;
    timezone_civil(to_local(downsample->timezone, time_ms), &civil);
    int64_t base_year = months <= 12 ? civil.year : EPOCH_YEAR;
    int64_t since = (civil.year - base_year) * 12 + civil.month - 1;
    int64_t start = timezone_local_ms(base_year, 1 + floor_to(since, months), 1, 0);
    return timezone_from_local_ms(downsample->timezone, start);
}

static bool is_calendar(const struct downsample *downsample) {
    return downsample->calendar && downsample->interval_ms <= CALENDAR_MS_MAX;
}

int64_t downsample_bucket(const struct downsample *downsample, int64_t time_ms) {
    CHECK(!downsample->all && downsample->interval_ms > 0);
    if (!is_calendar(downsample))
        return floor_to(time_ms, downsample->interval_ms);
    struct civil civil;
    switch (downsample->unit) {
    case 'd':
        timezone_civil(to_local(downsample->timezone, time_ms), &civil);
        return day_bucket(
            downsample, time_ms, downsample->count,
            base_of(downsample) == BASE_EPOCH ? 0 : timezone_local_ms(civil.year, 1, 1, 0));
    case 'w':
        return week_bucket(downsample, time_ms);
    case 'n':
        return month_bucket(downsample, time_ms, downsample->count);
    case 'y':
        return month_bucket(downsample, time_ms, 12 * downsample->count);
    default:
        return clock_bucket(downsample, time_ms);
    }
}

/* One interval on by the calendar, before the count is started again at a base. */
static int64_t step(const struct downsample *downsample, int64_t bucket_ms) {
    struct civil civil;
    timezone_civil(to_local(downsample->timezone, bucket_ms), &civil);
    int64_t days = 0, months = 0;
    switch (downsample->unit) {
    case 'd':
        days = downsample->count;
        break;
    case 'w':
        days = 7 * downsample->count;
        break;
    case 'n':
        months = downsample->count;
        break;
    case 'y':
        months = 12 * downsample->count;
        break;
    default:
        return bucket_ms + downsample->interval_ms;
    }
    return timezone_from_local_ms(
        downsample->timezone,
        timezone_local_ms(civil.year, civil.month + months, civil.day + days, 0));
}

int64_t downsample_next(const struct downsample *downsample, int64_t bucket_ms) {
    CHECK(!downsample->all && downsample->interval_ms > 0);
    int64_t next;
    if (!is_calendar(downsample))
        return __builtin_add_overflow(bucket_ms, downsample->interval_ms, &next) ? INT64_MAX : next;
    next = step(downsample, bucket_ms);
    /* Back to the first bucket after this one, if a base lies in between. */
    for (int64_t start = downsample_bucket(downsample, next); start > bucket_ms;
         start = downsample_bucket(downsample, next - 1))
        next = start;
    return next;
}
