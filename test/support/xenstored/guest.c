/*
 * guest DIRECTORY DOMID: a guest domain of the xenstored that shim.c serves in DIRECTORY.
 *
 * Makes the domain's ring page, introduces it, and offers DIRECTORY/dom<DOMID>.client, a stream socket whose one client
 * is that guest to xenstored: real permissions, quotas and relative paths. What comes in is copied onto the ring and
 * back, without anything that a kernel would add. SIGTERM takes the domain away again.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define RING 1024
#define XS_INTRODUCE 8
#define XS_RELEASE 9
#define XS_ERROR 16

/* xs_wire.h, struct xenstore_domain_interface */
struct ring {
	char requests[RING], replies[RING];
	uint32_t request_consumer, request_producer, reply_consumer, reply_producer;
};

static volatile struct ring *ring;
static const char *directory;
static int domid, datagrams;

static struct sockaddr_un address_of(const char *format)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	char name[32];

	snprintf(name, sizeof name, format, domid);
	snprintf(address.sun_path, sizeof address.sun_path, "%s/%s", directory, name);
	return address;
}

static int listen_at(const char *format, int type)
{
	struct sockaddr_un address = address_of(format);
	int fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);

	unlink(address.sun_path);
	if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof address) ||
	    (type == SOCK_STREAM && listen(fd, 1))) {
		perror(address.sun_path);
		exit(1);
	}
	return fd;
}

/* One request to xenstored as dom0. */
static int as_dom0(uint32_t type, const char *payload, uint32_t length)
{
	struct sockaddr_un address = address_of("socket");
	uint32_t header[4] = { type, 0, 0, length };
	char reply[64] = "";
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (connect(fd, (struct sockaddr *)&address, sizeof address) ||
	    write(fd, header, sizeof header) != sizeof header || write(fd, payload, length) != length ||
	    recv(fd, header, sizeof header, MSG_WAITALL) != sizeof header || header[3] >= sizeof reply ||
	    recv(fd, reply, header[3], MSG_WAITALL) != header[3]) {
		perror("xenstored");
		return -1;
	}
	close(fd);
	if (header[0] == XS_ERROR)
		fprintf(stderr, "xenstored refused operation %u: %s\n", type, reply);
	return header[0] == XS_ERROR ? -1 : 0;
}

static void leave(int signal)
{
	static const char *const files[] = { "dom%d.ring", "dom%d.client", "dom%d.sock" };
	char payload[16];

	as_dom0(XS_RELEASE, payload, snprintf(payload, sizeof payload, "%d", domid) + 1);
	for (unsigned i = 0; i < sizeof files / sizeof *files; i++) {
		struct sockaddr_un address = address_of(files[i]);
		unlink(address.sun_path);
	}
	_exit(0);
}

static void notify(void)
{
	struct sockaddr_un address = address_of("evtchn.sock");
	uint32_t value = domid;

	sendto(datagrams, &value, sizeof value, 0, (struct sockaddr *)&address, sizeof address);
}

/* Moves what fits from `pending` onto the ring; returns how much is left. */
static size_t put(char *pending, size_t length)
{
	size_t moved = 0;

	while (moved < length && ring->request_producer - ring->request_consumer < RING) {
		ring->requests[ring->request_producer % RING] = pending[moved++];
		__sync_synchronize();
		ring->request_producer++;
	}
	memmove(pending, pending + moved, length - moved);
	return length - moved;
}

static size_t take(char *buffer)
{
	size_t length = 0;

	while (ring->reply_consumer != ring->reply_producer && length < RING) {
		buffer[length++] = ring->replies[ring->reply_consumer % RING];
		__sync_synchronize();
		ring->reply_consumer++;
	}
	return length;
}

int main(int argc, char **argv)
{
	static char pending[1 << 16];
	size_t waiting = 0;
	char payload[64];
	int fd, listener, client = -1;

	if (argc != 3) {
		fprintf(stderr, "usage: guest DIRECTORY DOMID\n");
		return 2;
	}
	directory = argv[1];
	domid = atoi(argv[2]);
	fd = open(address_of("dom%d.ring").sun_path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0 || ftruncate(fd, 4096)) {
		perror("ring");
		return 1;
	}
	ring = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	datagrams = listen_at("dom%d.sock", SOCK_DGRAM);
	/* domid, the ring's frame and the event channel; the shim looks at neither of the last two */
	if (as_dom0(XS_INTRODUCE, payload, sprintf(payload, "%d%c1%c1", domid, 0, 0) + 1))
		return 1;
	signal(SIGTERM, leave);
	signal(SIGPIPE, SIG_IGN);
	listener = listen_at("dom%d.client", SOCK_STREAM);
	for (;;) {
		struct pollfd polled[] = {
			{ datagrams, POLLIN, 0 },
			{ client < 0 ? listener : -1, POLLIN, 0 },
			{ client, waiting < sizeof pending / 2 ? POLLIN : 0, 0 },
		};
		size_t before, length;
		char replies[RING];
		uint32_t port;

		if (poll(polled, 3, -1) < 0)
			continue;
		while (recv(datagrams, &port, sizeof port, MSG_DONTWAIT) == sizeof port)
			;
		if (polled[1].revents & POLLIN)
			client = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
		if (polled[2].revents) {
			ssize_t got = read(client, pending + waiting, sizeof pending - waiting);
			if (got <= 0) {
				close(client);
				client = -1;
				waiting = 0;
			} else {
				waiting += got;
			}
		}
		before = waiting;
		waiting = put(pending, waiting);
		length = take(replies);
		for (size_t sent = 0; client >= 0 && sent < length;) {
			ssize_t written = write(client, replies + sent, length - sent);
			if (written <= 0)
				break;
			sent += written;
		}
		if (before != waiting || length > 0)
			notify();
	}
}
