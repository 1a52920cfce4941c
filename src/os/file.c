#include "os/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

enum { READ_STEP = 64 << 10, WRITE_MAX = 1 << 30 };

static enum rc rc_of(int error) {
    switch (error) {
    case ENOENT:
        return RC_NOT_FOUND;
    case EEXIST:
        return RC_CONFLICT;
    case ENOSPC:
    case EDQUOT:
        return RC_NO_SPACE;
    case ENOMEM:
        return RC_NOMEM;
    default:
        return RC_IO;
    }
}

/* "cannot write /data/x: <reason>; <advice>". `doing` completes "cannot". */
static enum rc fail(struct err *err, int error, const char *doing, const char *path) {
    enum rc rc = rc_of(error);
    switch (error) {
    case EACCES:
    case EPERM:
        return err_set(err, rc,
                       "cannot %s %s: permission denied; give it to uid %u or mount it writable",
                       doing, path, (unsigned)geteuid());
    case EROFS:
        return err_set(err, rc, "cannot %s %s: the file system is read-only; mount it writable",
                       doing, path);
    case ENOSPC:
        return err_set(err, rc,
                       "cannot %s %s: no space left on the file system; free some or enlarge it",
                       doing, path);
    case EDQUOT:
        return err_set(err, rc, "cannot %s %s: the disk quota of uid %u is used up; raise it",
                       doing, path, (unsigned)geteuid());
    case EMFILE:
    case ENFILE:
        return err_set(err, rc, "cannot %s %s: too many open files; raise the limit (ulimit -n)",
                       doing, path);
    case EIO:
        return err_set(err, rc, "cannot %s %s: the device failed; see the kernel log", doing, path);
    default:
        return err_set(err, rc, "cannot %s %s: %s", doing, path, strerror(error));
    }
}

/* ---- open files ---- */

static int open_retrying(const char *path, int flags) {
    int fd;
    do
        fd = open(path, flags | O_CLOEXEC, 0640);
    while (fd < 0 && errno == EINTR);
    return fd;
}

static void close_keeping_errno(int fd) {
    int error = errno;
    (void)close(fd);
    errno = error;
}

enum rc file_open(const char *path, enum file_mode mode, struct file *file, struct err *err) {
    static const int flags[] = {
        [FILE_READ] = O_RDONLY,
        [FILE_CREATE_NEW] = O_RDWR | O_CREAT | O_EXCL,
        [FILE_OPEN] = O_RDWR | O_CREAT,
        [FILE_REPLACE] = O_RDWR | O_CREAT | O_TRUNC,
    };
    *file = (struct file){.fd = -1};
    char *copy = strdup(path);
    if (copy == NULL)
        return err_set(err, RC_NOMEM, "cannot open %s: out of memory", path);
    int fd = open_retrying(path, flags[mode]);
    if (fd < 0) {
        enum rc rc = fail(err, errno, mode == FILE_READ ? "open" : "write to", path);
        free(copy);
        return rc;
    }
    *file = (struct file){fd, copy};
    return RC_OK;
}

void file_close(struct file *file) {
    if (file->fd >= 0)
        (void)close(file->fd);
    free(file->path);
    *file = (struct file){.fd = -1};
}

enum rc file_read_at(const struct file *file, uint64_t offset, void *bytes, size_t n, size_t *got,
                     struct err *err) {
    *got = 0;
    while (*got < n) {
        size_t part = n - *got < WRITE_MAX ? n - *got : WRITE_MAX;
        ssize_t r = pread(file->fd, (char *)bytes + *got, part, (off_t)(offset + *got));
        if (r < 0 && errno == EINTR)
            continue;
        if (r < 0)
            return fail(err, errno, "read", file->path);
        if (r == 0)
            break;
        *got += (size_t)r;
    }
    return RC_OK;
}

enum rc file_write_at(const struct file *file, uint64_t offset, const void *bytes, size_t n,
                      struct err *err) {
    size_t done = 0;
    while (done < n) {
        size_t part = n - done < WRITE_MAX ? n - done : WRITE_MAX;
        ssize_t r = pwrite(file->fd, (const char *)bytes + done, part, (off_t)(offset + done));
        if (r < 0 && errno == EINTR)
            continue;
        if (r < 0)
            return fail(err, errno, "write to", file->path);
        done += (size_t)r;
    }
    return RC_OK;
}

/* Not repeated when interrupted: after any failed sync the caller must distrust the file. */
enum rc file_sync(const struct file *file, struct err *err) {
    return fdatasync(file->fd) == 0 ? RC_OK : fail(err, errno, "sync", file->path);
}

enum rc file_size(const struct file *file, uint64_t *size, struct err *err) {
    struct stat s;
    if (fstat(file->fd, &s) != 0)
        return fail(err, errno, "examine", file->path);
    *size = (uint64_t)s.st_size;
    return RC_OK;
}

enum rc file_truncate(const struct file *file, uint64_t size, struct err *err) {
    int r;
    do
        r = ftruncate(file->fd, (off_t)size);
    while (r != 0 && errno == EINTR);
    return r == 0 ? RC_OK : fail(err, errno, "cut back", file->path);
}

enum rc file_lock(const struct file *file, struct err *err) {
    if (flock(file->fd, LOCK_EX | LOCK_NB) == 0)
        return RC_OK;
    if (errno == EWOULDBLOCK)
        return err_set(err, RC_CONFLICT, "%s is locked by another process", file->path);
    return fail(err, errno, "lock", file->path);
}

enum rc file_map(const struct file *file, size_t size, const uint8_t **bytes, struct err *err) {
    void *p = mmap(NULL, size, PROT_READ, MAP_SHARED, file->fd, 0);
    if (p == MAP_FAILED)
        return fail(err, errno, "map", file->path);
    *bytes = p;
    return RC_OK;
}

void file_unmap(const uint8_t *bytes, size_t size) {
    (void)munmap((void *)(uintptr_t)bytes, size);
}

static enum rc read_all(const struct file *file, size_t bytes_max, struct buf *out,
                        struct err *err) {
    size_t start = out->n;
    for (;;) {
        char *p = buf_reserve(out, READ_STEP);
        if (p == NULL)
            return err_set(err, RC_NOMEM, "cannot read %s: out of memory", file->path);
        ssize_t r = read(file->fd, p, READ_STEP);
        if (r < 0 && errno == EINTR)
            continue;
        if (r < 0)
            return fail(err, errno, "read", file->path);
        if (r == 0)
            return RC_OK;
        out->n += (size_t)r;
        if (out->n - start > bytes_max)
            return err_set(err, RC_LIMIT, "%s is larger than %zu bytes", file->path, bytes_max);
    }
}

enum rc file_read_all(const char *path, size_t bytes_max, struct buf *out, struct err *err) {
    struct file file;
    TRY(file_open(path, FILE_READ, &file, err));
    enum rc rc = read_all(&file, bytes_max, out, err);
    file_close(&file);
    return rc;
}

/* ---- names ---- */

enum rc file_stat(const char *path, uint64_t *size, struct err *err) {
    struct stat s;
    if (stat(path, &s) != 0)
        return fail(err, errno, "examine", path);
    if (size != NULL)
        *size = (uint64_t)s.st_size;
    return RC_OK;
}

enum rc file_rename(const char *from, const char *to, struct err *err) {
    return rename(from, to) == 0 ? RC_OK : fail(err, errno, "rename a file to", to);
}

enum rc file_remove(const char *path, struct err *err) {
    return unlink(path) == 0 ? RC_OK : fail(err, errno, "remove", path);
}

enum rc file_sync_directory(const char *path, struct err *err) {
    int fd = open_retrying(path, O_RDONLY | O_DIRECTORY);
    if (fd < 0)
        return fail(err, errno, "open", path);
    int r = fsync(fd);
    close_keeping_errno(fd);
    return r == 0 ? RC_OK : fail(err, errno, "sync", path);
}

static enum rc make_one(char *path, struct err *err) {
    if (mkdir(path, 0750) != 0) {
        struct stat s;
        int error = errno;
        if (stat(path, &s) != 0)
            return fail(err, error, "create directory", path);
        if (!S_ISDIR(s.st_mode))
            return err_set(err, RC_IO, "%s is not a directory", path);
        return RC_OK;
    }
    char *slash = strrchr(path, '/');
    if (slash == NULL)
        return file_sync_directory(".", err);
    if (slash == path)
        return file_sync_directory("/", err);
    *slash = '\0';
    enum rc rc = file_sync_directory(path, err);
    *slash = '/';
    return rc;
}

enum rc file_make_directory(const char *path, struct err *err) {
    char copy[FILE_PATH_MAX];
    size_t n = strlen(path);
    while (n > 1 && path[n - 1] == '/')
        n--;
    if (n == 0 || n >= sizeof(copy))
        return err_set(err, RC_INVALID, "the path of a directory has 1 to %d bytes",
                       FILE_PATH_MAX - 1);
    memcpy(copy, path, n);
    copy[n] = '\0';
    for (size_t i = 1; i < n; i++) {
        if (copy[i] != '/' || copy[i - 1] == '/')
            continue;
        copy[i] = '\0';
        TRY(make_one(copy, err));
        copy[i] = '/';
    }
    return make_one(copy, err);
}

enum rc file_list(const char *path, enum rc (*each)(void *context, const char *name, uint64_t size),
                  void *context, struct err *err) {
    DIR *directory = opendir(path);
    if (directory == NULL)
        return fail(err, errno, "list", path);
    enum rc rc = RC_OK;
    while (rc == RC_OK) {
        errno = 0;
        struct dirent *entry = readdir(directory);
        if (entry == NULL) {
            if (errno != 0)
                rc = fail(err, errno, "list", path);
            break;
        }
        struct stat s;
        if (fstatat(dirfd(directory), entry->d_name, &s, AT_SYMLINK_NOFOLLOW) != 0) {
            if (errno != ENOENT)
                rc = fail(err, errno, "examine a file of", path);
            continue;
        }
        if (S_ISREG(s.st_mode))
            rc = each(context, entry->d_name, (uint64_t)s.st_size);
    }
    (void)closedir(directory);
    return rc;
}

enum rc file_space(const char *path, uint64_t *free_bytes, struct err *err) {
    struct statvfs s;
    if (statvfs(path, &s) != 0)
        return fail(err, errno, "examine the file system of", path);
    *free_bytes = (uint64_t)s.f_bavail * s.f_frsize;
    return RC_OK;
}
