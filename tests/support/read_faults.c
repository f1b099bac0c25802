/* Makes one read of each file in a folder fail with EIO, in the processes of one program.

   FAULT_FOLDER   the folder
   FAULT_PROGRAM  name of the program
   FAULT_PERCENT  share of the file's bytes that a process reads before the failure
   FAULT_MARKS    folder of marks, one for each file whose read has failed; without it, all fail */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static long long taken;

static int fails(int file, size_t size) {
    const char *folder = getenv("FAULT_FOLDER"), *marks = getenv("FAULT_MARKS");
    char link[64], path[4096], mark[4096];
    struct stat found;
    if (!folder || strcmp(program_invocation_short_name, getenv("FAULT_PROGRAM"))) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0 || fstat(file, &found)) return 0;
    path[length] = 0;
    if (strncmp(path, folder, strlen(folder))) return 0;
    taken += size;
    if (taken * 100 <= found.st_size * atoll(getenv("FAULT_PERCENT"))) return 0;
    if (marks) {
        snprintf(mark, sizeof mark, "%s/%llu", marks, (unsigned long long)found.st_ino);
        int made = open(mark, O_CREAT | O_EXCL | O_WRONLY, 0600);
        if (made < 0) return 0;
        close(made);
    }
    errno = EIO;
    return 1;
}

ssize_t read(int file, void *data, size_t size) {
    static ssize_t (*real)(int, void *, size_t);
    if (!real) real = dlsym(RTLD_NEXT, "read");
    return fails(file, size) ? -1 : real(file, data, size);
}
