"""A naive model of how OpenTSDB 2.4 answers a query: lists, loops and no cleverness.

Written from the rules, not from the server's code. Integers are Python ints kept to 64 bits; doubles are
floats. A series is (tags, {time_ms: value}).
"""
import bisect
import math

HOUR = 3600
LERP, ZIM, MAX, MIN, PREV = range(5)
INTERPOLATION = {name: LERP for name in (
    "sum min max avg median mult dev diff p50 p75 p90 p95 p99 p999 ep50r3 ep75r3 ep90r3 ep95r3 ep99r3 "
    "ep999r3 ep50r7 ep75r7 ep90r7 ep95r7 ep99r7 ep999r7").split()}
INTERPOLATION.update(pfsum=PREV, zimsum=ZIM, mimmin=MAX, mimmax=MIN, count=ZIM, squareSum=ZIM, first=ZIM,
                     last=ZIM, none=ZIM)
AGGREGATORS = list(INTERPOLATION)
INT_MAX, INT_MIN = 2**63 - 1, -2**63
DOUBLE_MAX = 1.7976931348623157e308


def wrap(value):
    return (value + 2**63) % 2**64 - 2**63


def truncating(a, b):
    q = abs(a) // abs(b)
    return q if (a < 0) == (b < 0) else -q


def to_long(value):
    """As Java casts a double: towards zero, and to the nearest limit."""
    return max(INT_MIN, min(INT_MAX, int(value)))


def total(values):
    """The exact sum, unless it leaves the doubles."""
    values = list(values)
    try:
        return math.fsum(values)
    except (ValueError, OverflowError):
        return sum(values)


def percentile_parts(name):
    body = name.lstrip("ep")
    digits, kind = body, "legacy"
    if body.endswith(("r3", "r7")) and name.startswith("ep"):
        digits, kind = body[:-2], body[-2:]
    p = {"50": .5, "75": .75, "90": .9, "95": .95, "99": .99, "999": .999}[digits]
    return p, kind


def percentile(values, p, kind):
    values = sorted(float(v) for v in values)
    n = len(values)
    if kind == "legacy":
        position = p * (n + 1)
    elif kind == "r7":
        position = 1 + (n - 1) * p
    else:
        position = 0 if p <= 0.5 / n else float(round(n * p))  # Python rounds half to even
    if position < 1:
        return values[0]
    if position >= n:
        return values[-1]
    low = math.floor(position)
    return values[low - 1] + (position - low) * (values[low] - values[low - 1])


def deviation(values):
    mean = squares = 0.0
    for count, value in enumerate(values, 1):
        delta = value - mean
        mean += delta / count
        squares += delta * (value - mean)
    return math.sqrt(squares / len(values)) if len(values) > 1 else 0.0


def aggregate_ints(name, values):
    if name in ("sum", "pfsum", "zimsum"):
        return wrap(sum(values))
    if name in ("min", "mimmin"):
        return min(values)
    if name in ("max", "mimmax"):
        return max(values)
    if name == "avg":
        return truncating(wrap(sum(values)), len(values))
    if name == "median":
        return sorted(values)[len(values) // 2]
    if name == "mult":
        product = 1
        for value in values:
            product = wrap(product * value)
        return product
    if name == "dev":
        return to_long(deviation(values))
    if name == "diff":
        return wrap(values[-1] - values[0]) if len(values) > 1 else 0
    if name == "count":
        return len(values)
    if name == "squareSum":
        return wrap(sum(v * v for v in values))
    if name == "first":
        return values[0]
    if name in ("last", "none"):
        return values[-1]
    p, kind = percentile_parts(name)
    return to_long(percentile(values, p, kind))


def aggregate_doubles(name, values):
    """NaN is skipped where the rule skips it; all NaN gives NaN (count gives 0)."""
    real = [v for v in values if not math.isnan(v)]
    if name == "count":
        return float(len(real))
    if name == "first":
        return values[0]
    if name in ("last", "none"):
        return values[-1]
    if name == "mult":
        product = 1.0
        for value in values:
            product *= value
        return product
    if name == "diff":
        if math.isnan(values[-1]):
            return math.nan
        return real[-1] - real[0] if len(real) > 1 else 0.0
    if not real:
        return math.nan
    if name in ("sum", "pfsum", "zimsum"):
        return total(real)
    if name in ("min", "mimmin"):
        return min(real)
    if name in ("max", "mimmax"):
        return max(real)
    if name == "avg":
        return total(real) / len(real)
    if name == "median":
        return sorted(real)[len(real) // 2]
    if name == "dev":
        return deviation(real)
    if name == "squareSum":
        return total(v * v for v in real)
    p, _ = percentile_parts(name)
    return percentile(real, p, "legacy")


def window(start_ms, end_ms, interval_ms, end_in_ms):
    """The hour-aligned seconds [S, E] that are read; one more if the end was written in milliseconds."""
    start = start_ms // 1000
    end = end_ms // 1000 + (1 if end_in_ms else 0)
    if interval_ms:
        start -= (start * 1000 % interval_ms) // 1000
        end += (interval_ms - end * 1000 % interval_ms) // 1000
        return start - start % HOUR, -(-end // HOUR) * HOUR
    return start - start % HOUR, end - end % HOUR + HOUR


def downsample(points, spec, start_ms, end_ms, low, high):
    """points: ascending [(ms, value)]; spec: (interval_ms or "all", function, fill)."""
    interval, function, fill = spec
    if interval == "all":
        inside = [float(v) for t, v in points if start_ms <= t < end_ms]
        return [(start_ms, aggregate_doubles(function, inside))] if inside else []
    buckets = {}
    for t, v in points:
        buckets.setdefault(t // interval * interval, []).append(float(v))
    out = {t: aggregate_doubles(function, vs) for t, vs in buckets.items() if t >= low * 1000}
    if fill != "none":
        empty = 0.0 if fill == "zero" else math.nan
        t = -(-low * 1000 // interval) * interval
        while t < high * 1000 // interval * interval:
            out.setdefault(t, empty)
            t += interval
    return sorted(out.items())


def rates(points, options):
    """-> (pseudo rate before the first real one, [(ms, rate)])"""
    if len(points) < 2:
        return None, []
    counter, maximum, reset, drop = options
    out = []
    points = [(0, 0)] + points  # the first rate is against time 0, by the same rules
    for (t0, v0), (t1, v1) in zip(points, points[1:]):
        both = isinstance(v0, int) and isinstance(v1, int)
        difference = wrap(v1 - v0) if both else v1 - v0
        seconds = (t1 - t0) / 1000
        if counter and difference < 0:
            if drop:
                continue
            difference = wrap(maximum - v0 + v1) if both else float(maximum) - v0 + v1
            rate = difference / seconds
            out.append((t1, 0.0 if reset > 0 and rate > reset else rate))
        else:
            out.append((t1, difference / seconds))
    return (out[0][1], out[1:]) if len(out) > 1 else (None, [])


def merge_rates(name, members):
    timeline = sorted({t for _, points in members for t, _ in points})
    members = [(pseudo, points, [t for t, _ in points]) for pseudo, points in members if points]
    out = []
    for t in timeline:
        values = []
        for pseudo, points, times in members:
            if t > times[-1]:
                continue
            before = bisect.bisect_right(times, t)
            values.append(points[before - 1][1] if before else pseudo)
        out.append((t, aggregate_doubles(name, values)))
    return out


def value_at(name, points, times, t, ints):
    """What one series gives at t, which lies within it; exact or interpolated."""
    at = bisect.bisect_left(times, t)
    if times[at] == t:
        return points[at][1] if ints else float(points[at][1])
    kind = INTERPOLATION[name]
    if kind == ZIM:
        return 0 if ints else 0.0
    if kind == MAX:
        return INT_MAX if ints else DOUBLE_MAX
    if kind == MIN:
        return INT_MIN if ints else -DOUBLE_MAX
    (x0, y0), (x1, y1) = points[at - 1], points[at]
    if kind == PREV:
        return y0 if ints else float(y0)
    if ints:
        return wrap(y0 + truncating(wrap((t - x0) * wrap(y1 - y0)), x1 - x0))
    return float(y0) + (t - x0) * (float(y1) - float(y0)) / (x1 - x0)


def buffered_float(points, times, t):
    """Whether the current or the next point of a series at t is a float."""
    following = bisect.bisect_right(times, t)
    current = following - 1
    if following == len(times):
        if times[current] < t:
            return False  # it has left
        return isinstance(points[current][1], float)
    return isinstance(points[following][1], float) or (current >= 0 and isinstance(points[current][1], float))


def merge(name, members):
    timeline = sorted({t for points in members for t, _ in points})
    members = [(points, [t for t, _ in points]) for points in members]
    out = []
    for t in timeline:
        ints = not any(buffered_float(points, times, t) for points, times in members)
        values = [value_at(name, points, times, t, ints) for points, times in members
                  if times[0] <= t <= times[-1]]
        out.append((t, (aggregate_ints if ints else aggregate_doubles)(name, values)))
    return out


def answer(series, name, start_ms, end_ms, spec=None, rate=None, group_by=(), end_in_ms=True):
    """-> {group values: [(ms, value)]} in no order. `series`: [(tags, {ms: value})] in tag order."""
    interval = 0 if spec is None or spec[0] == "all" else spec[0]
    low, high = window(start_ms, end_ms, interval, end_in_ms)
    groups = {}
    for number, (tags, values) in enumerate(series):
        points = sorted((t, v) for t, v in values.items() if low * 1000 <= t <= high * 1000)
        if not points or any(key not in tags for key in group_by):
            continue
        key = number if name == "none" else tuple(tags[k] for k in group_by)
        if spec is not None:
            points = downsample(points, spec, start_ms, end_ms, low, high)
        groups.setdefault(key, []).append(points)
    out = {}
    for key, members in groups.items():
        if rate is None:
            merged = merge(name, [m for m in members if m])
        else:
            merged = merge_rates(name, [rates(m, rate) for m in members])
        out[key] = [(t, v) for t, v in merged if start_ms <= t <= end_ms]
    return out
