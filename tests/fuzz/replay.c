/* main() for builds without libFuzzer: each file of a directory, once. At least one must be there.
 */
#include <dirent.h>
#include <string.h>

#include "fuzz.h"

static void run(const char *path)
{
    static uint8_t data[1 << 20];
    FILE *f = fopen(path, "rb");
    MUST(f);
    size_t n = fread(data, 1, sizeof(data), f);
    (void)fclose(f);
    uint8_t *exact = malloc(n ? n : 1);
    MUST(exact);
    memcpy(exact, data, n);
    (void)LLVMFuzzerTestOneInput(exact, n);
    free(exact);
}

int main(int argc, char **argv)
{
    MUST(argc == 2);
    DIR *d = opendir(argv[1]);
    MUST(d);
    size_t n = 0;
    for (struct dirent *e = readdir(d); e; e = readdir(d)) {
        char path[1024];
        if (e->d_name[0] == '.')
            continue;
        (void)snprintf(path, sizeof(path), "%s/%s", argv[1], e->d_name);
        run(path);
        n++;
    }
    (void)closedir(d);
    MUST(n > 0);
    return 0;
}
