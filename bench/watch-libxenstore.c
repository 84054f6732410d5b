/* Watches /bench with libxenstore's reader thread and prints when each event was handed over. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <xenstore.h>

int main(int argc, char **argv)
{
	if (argc != 2)
		return 2;
	const char *node = getenv("BENCH_NODE");
	int count = atoi(argv[1]), done = 0;
	unsigned int n;
	char **paths = calloc(count, sizeof *paths);
	struct timespec *times = calloc(count, sizeof *times);
	struct xs_handle *store = xs_open(0); /* socket or device: XENSTORED_PATH */
	if (!paths || !times || !store || !xs_watch(store, node ? node : "/bench", "t"))
		return 1;
	free(xs_read_watch(store, &n)); /* fires at once on registration */
	puts("ready");
	fflush(stdout);
	while (done < count) {
		char **event = xs_read_watch(store, &n);
		if (!event)
			return 1;
		clock_gettime(CLOCK_MONOTONIC, &times[done]);
		paths[done++] = event[XS_WATCH_PATH]; /* the pointer is the start of one block, kept to the end */
	}
	for (int i = 0; i < count; i++)
		printf("%s %lld\n", paths[i], times[i].tv_sec * 1000000000LL + times[i].tv_nsec);
	return 0;
}
