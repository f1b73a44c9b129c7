/* Makes calls on files of one directory fail, as a full or broken disk does. Loaded with LD_PRELOAD.
 *
 * FAULT_DIR   the directory; calls on other files are let through
 * FAULT_CALL  which calls: write, sync or truncate, a space, and the name of the file; or any
 * FAULT_AT    which of these fails, counted from 1; 0 for none
 * FAULT_KIND  eio: that one fails with EIO
 *             einval: that one fails with EINVAL
 *             enospc: that one, and every write and truncate after it, fails with ENOSPC
 *             short: half of it is written, and after that it is as for enospc
 *             hold: while there is a file FAULT_HOLD, it waits (all of them, if FAULT_AT is 0); a file
 *             FAULT_HOLD.held tells that one does
 *             broken: while there is a file FAULT_HOLD, all of them fail with EIO
 * FAULT_LOG   a file to which every call is written, and the word "fault" before one that fails
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static long seen;
static int is_full;

enum verdict { PASS, FAIL_EIO, FAIL_EINVAL, FAIL_ENOSPC, SHORT };

static enum verdict judge(int fd, const char *call) {
    const char *directory = getenv("FAULT_DIR"), *wanted = getenv("FAULT_CALL"), *kind = getenv("FAULT_KIND");
    const char *at = getenv("FAULT_AT"), *log = getenv("FAULT_LOG");
    char link[64], path[4096], what[4200];
    if (!directory || !wanted || !kind || !at) return PASS;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    size_t prefix = strlen(directory);
    if (length <= (ssize_t)prefix) return PASS;
    path[length] = 0;
    if (strncmp(path, directory, prefix) != 0 || path[prefix] != '/') return PASS;
    snprintf(what, sizeof what, "%s %s", call, path + prefix + 1);
    enum verdict verdict = PASS;
    pthread_mutex_lock(&mutex);
    if (is_full && strcmp(call, "sync") != 0) verdict = FAIL_ENOSPC;
    int is_wanted = strcmp(what, wanted) == 0 || strcmp(wanted, "any") == 0, holds = strcmp(kind, "hold") == 0;
    int is_it = is_wanted && ++seen == atol(at), is_broken = strcmp(kind, "broken") == 0;
    const char *hold = getenv("FAULT_HOLD");
    if (is_broken) {
        is_it = 0;
        if (is_wanted && hold && access(hold, F_OK) == 0) verdict = FAIL_EIO;
    }
    if (is_it && !holds) {
        verdict = strcmp(kind, "eio") == 0      ? FAIL_EIO
                  : strcmp(kind, "einval") == 0 ? FAIL_EINVAL
                  : strcmp(kind, "short") == 0  ? SHORT
                                                : FAIL_ENOSPC;
        is_full = verdict == SHORT || verdict == FAIL_ENOSPC;
    }
    if (log) {
        static ssize_t (*real_write)(int, const void *, size_t);
        if (!real_write) *(void **)&real_write = dlsym(RTLD_NEXT, "write");
        int to = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
        char line[4300];
        int size = snprintf(line, sizeof line, "%s%s\n", verdict == PASS ? "" : "fault ", what);
        if (to >= 0) {
            if (real_write(to, line, size) != size) abort();
            close(to);
        }
    }
    pthread_mutex_unlock(&mutex);
    if (hold && holds && (is_it || (is_wanted && atol(at) == 0)) && access(hold, F_OK) == 0) {
        char held[4200];
        snprintf(held, sizeof held, "%s.held", hold);
        int tells = open(held, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
        if (tells >= 0) close(tells);
        while (access(hold, F_OK) == 0) usleep(1000);
        unlink(held);
    }
    return verdict;
}

static int failed(enum verdict verdict) {
    errno = verdict == FAIL_EIO ? EIO : verdict == FAIL_EINVAL ? EINVAL : ENOSPC;
    return -1;
}

#define REAL(type, name, ...)                                                                                          \
    static type (*real)(__VA_ARGS__);                                                                                  \
    if (!real) *(void **)&real = dlsym(RTLD_NEXT, name)

ssize_t write(int fd, const void *from, size_t size) {
    REAL(ssize_t, "write", int, const void *, size_t);
    enum verdict verdict = judge(fd, "write");
    if (verdict == SHORT && size > 1) return real(fd, from, size / 2);
    return verdict == PASS ? real(fd, from, size) : failed(verdict);
}

#define PWRITE(function)                                                                                               \
    ssize_t function(int fd, const void *from, size_t size, off_t at) {                                                \
        REAL(ssize_t, #function, int, const void *, size_t, off_t);                                                    \
        enum verdict verdict = judge(fd, "write");                                                                     \
        if (verdict == SHORT && size > 1) return real(fd, from, size / 2, at);                                         \
        return verdict == PASS ? real(fd, from, size, at) : failed(verdict);                                           \
    }

#define SYNC(function)                                                                                                 \
    int function(int fd) {                                                                                             \
        REAL(int, #function, int);                                                                                     \
        enum verdict verdict = judge(fd, "sync");                                                                      \
        return verdict == PASS ? real(fd) : failed(verdict);                                                           \
    }

#define TRUNCATE(function)                                                                                             \
    int function(int fd, off_t size) {                                                                                 \
        REAL(int, #function, int, off_t);                                                                              \
        enum verdict verdict = judge(fd, "truncate");                                                                  \
        return verdict == PASS ? real(fd, size) : failed(verdict);                                                     \
    }

PWRITE(pwrite)
PWRITE(pwrite64)
SYNC(fsync)
SYNC(fdatasync)
TRUNCATE(ftruncate)
TRUNCATE(ftruncate64)
