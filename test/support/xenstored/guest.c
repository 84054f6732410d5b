/*
 * guest DIRECTORY DOMID: a guest domain of the xenstored that shim.c serves in DIRECTORY.
 *
 * Makes the domain's ring page, introduces it, and offers DIRECTORY/dom<DOMID>.client, a stream socket whose clients
 * all are that guest to xenstored: real permissions, quotas and relative paths. They share the one ring as the programs
 * of a guest share it through their kernel's driver: each gets the replies to its own requests and the events of its
 * own watches, may use only its own transactions, and leaves neither behind. SIGTERM takes the domain away again.
 */
#define _GNU_SOURCE
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
#define HEADER 16
#define PAYLOAD 4096
#define CLIENTS 64
/* As many bytes may wait for room on the ring before clients have to wait instead. */
#define BACKLOG (16 * PAYLOAD)
#define NOBODY 0
#define NO_TRANSACTION UINT32_MAX

enum { XS_WATCH = 4, XS_UNWATCH = 5, XS_TRANSACTION_START = 6, XS_TRANSACTION_END = 7, XS_INTRODUCE = 8,
       XS_RELEASE = 9, XS_WATCH_EVENT = 15, XS_ERROR = 16 };

/* xs_wire.h, struct xenstore_domain_interface */
struct ring {
	char requests[RING], replies[RING];
	uint32_t request_consumer, request_producer, reply_consumer, reply_producer;
};

struct message {
	uint32_t type, id, transaction, length;
	char payload[PAYLOAD];
};

/* A message of which `got` bytes have come. */
struct inbox {
	size_t got;
	struct message message;
};

/* Bytes on their way out. */
struct outbox {
	size_t length;
	char *bytes;
};

/* A request without a reply yet: on the ring it has a number of its own. */
struct request {
	struct request *next;
	uint32_t number, client;
	struct message message;
};

/* What undoes something that a client has: a watch or an open transaction. */
struct held {
	struct held *next;
	struct message undo;
};

struct client {
	uint32_t number; /* never used again; NOBODY: the slot is free */
	int fd;
	struct inbox in;
	struct outbox out;
	struct held *held;
};

static volatile struct ring *ring;
static const char *directory;
static int domid, datagrams;
static struct client clients[CLIENTS];
static struct request *requests;
static struct outbox to_ring;

static void fail(const char *what)
{
	perror(what);
	exit(1);
}

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
	    (type == SOCK_STREAM && listen(fd, CLIENTS)))
		fail(address.sun_path);
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

/* Bytes missing of the header, then of the whole message. */
static size_t missing(const struct inbox *in)
{
	return (in->got < HEADER ? HEADER : HEADER + in->message.length) - in->got;
}

static int is_too_long(const struct inbox *in)
{
	return in->got >= HEADER && in->message.length > PAYLOAD;
}

static int is_whole(const struct inbox *in)
{
	return in->got >= HEADER && missing(in) == 0;
}

static void *memory(void *old, size_t size)
{
	void *new = realloc(old, size);

	if (!new)
		fail("memory");
	return new;
}

static void append(struct outbox *out, const struct message *message)
{
	size_t size = HEADER + message->length;

	out->bytes = memory(out->bytes, out->length + size);
	memcpy(out->bytes + out->length, message, size);
	out->length += size;
}

static void drop(struct outbox *out, size_t count)
{
	if (count == 0)
		return;
	out->length -= count;
	memmove(out->bytes, out->bytes + count, out->length);
}

static struct client *find_client(uint32_t number)
{
	for (struct client *client = clients; client < clients + CLIENTS; client++)
		if (client->number == number)
			return client;
	return NULL;
}

/* Where the client's entry for `undo` hangs; the end of its list when there is none. */
static struct held **find_held(struct client *client, const struct message *undo)
{
	struct held **at = &client->held;

	for (; *at; at = &(*at)->next) {
		const struct message *held = &(*at)->undo;
		if (held->type != undo->type)
			continue;
		if (held->type == XS_TRANSACTION_END ? held->transaction == undo->transaction :
		    held->length == undo->length && !memcmp(held->payload, undo->payload, undo->length))
			break;
	}
	return at;
}

/* Sends a request to xenstored in the name of `client`, or of NOBODY. */
static void ask(struct client *client, const struct message *message)
{
	static uint32_t last;
	struct request *request = memory(NULL, sizeof *request);
	struct message sent = *message;

	request->next = requests;
	request->number = ++last;
	request->client = client ? client->number : NOBODY;
	request->message = *message;
	requests = request;
	sent.id = request->number;
	if (client && sent.transaction) {
		const struct message end = { .type = XS_TRANSACTION_END, .transaction = sent.transaction };
		if (!*find_held(client, &end))
			sent.transaction = NO_TRANSACTION;
	}
	append(&to_ring, &sent);
}

static void hold(struct client *client, const struct message *undo)
{
	struct held *held = memory(NULL, sizeof *held);

	held->next = client->held;
	held->undo = *undo;
	client->held = held;
}

static void release(struct client *client, const struct message *undo)
{
	struct held **at = find_held(client, undo), *held = *at;

	if (!held)
		return;
	*at = held->next;
	free(held);
}

static void hang_up(struct client *client)
{
	close(client->fd);
	while (client->held) {
		ask(NULL, &client->held->undo);
		release(client, &client->held->undo);
	}
	free(client->out.bytes);
	memset(client, 0, sizeof *client);
}

/* Makes the token of WATCH and UNWATCH that of this client alone. Returns 0 when it does not fit. */
static int mark_token(const struct client *client, struct message *message)
{
	char *token = memchr(message->payload, 0, message->length);
	char mark[16];
	size_t added = sprintf(mark, "%u:", client->number);

	if (!token) /* malformed, which xenstored says itself */
		return 1;
	if (message->length + added > PAYLOAD)
		return 0;
	token++;
	memmove(token + added, token, message->payload + message->length - token);
	memcpy(token, mark, added);
	message->length += added;
	return 1;
}

/* Reads from a client, at most up to the end of one message. */
static void receive(struct client *client)
{
	struct inbox *in = &client->in;
	ssize_t got = recv(client->fd, (char *)&in->message + in->got, missing(in), MSG_DONTWAIT);

	if (got <= 0 || (in->got += got, is_too_long(in))) {
		hang_up(client);
		return;
	}
	if (!is_whole(in))
		return;
	in->got = 0;
	if ((in->message.type == XS_WATCH || in->message.type == XS_UNWATCH) && !mark_token(client, &in->message)) {
		in->message.type = XS_ERROR;
		in->message.length = sizeof "EINVAL";
		memcpy(in->message.payload, "EINVAL", sizeof "EINVAL");
		append(&client->out, &in->message);
		return;
	}
	ask(client, &in->message);
}

static void hand_event(struct message *message)
{
	char *end = message->payload + message->length, *token = message->payload + strlen(message->payload) + 1, *own;
	struct client *client = find_client(strtoul(token, &own, 10));

	if (!client)
		return;
	own++; /* past the mark's colon */
	memmove(token, own, end - own);
	message->length -= own - token;
	append(&client->out, message);
}

static void hand_reply(struct message *message)
{
	struct request **at = &requests, *request;
	struct client *client;
	struct message undo;

	while (*at && (*at)->number != message->id)
		at = &(*at)->next;
	request = *at;
	if (!request)
		return;
	*at = request->next;
	client = request->client == NOBODY ? NULL : find_client(request->client);
	undo = request->message;
	message->id = undo.id;
	message->transaction = undo.transaction;
	if (message->type == XS_WATCH || message->type == XS_TRANSACTION_START) {
		undo.type = message->type == XS_WATCH ? XS_UNWATCH : XS_TRANSACTION_END;
		if (undo.type == XS_TRANSACTION_END) {
			undo.transaction = strtoul(message->payload, NULL, 10);
			undo.length = sizeof "F";
			memcpy(undo.payload, "F", sizeof "F");
		}
		if (client)
			hold(client, &undo);
		else
			ask(NULL, &undo);
	} else if (client && (message->type == XS_UNWATCH || message->type == XS_TRANSACTION_END)) {
		release(client, &undo);
	}
	if (client)
		append(&client->out, message);
	free(request);
}

/* Takes what xenstored has put on the ring. */
static size_t take(void)
{
	static struct inbox in;
	size_t count = 0;

	while (ring->reply_consumer != ring->reply_producer) {
		((char *)&in.message)[in.got++] = ring->replies[ring->reply_consumer % RING];
		__sync_synchronize();
		ring->reply_consumer++;
		count++;
		if (is_too_long(&in))
			fail("xenstored sent too long a message");
		if (!is_whole(&in))
			continue;
		in.got = 0;
		if (in.message.type == XS_WATCH_EVENT)
			hand_event(&in.message);
		else
			hand_reply(&in.message);
	}
	return count;
}

/* Puts as much on the ring as it has room for. */
static size_t put(void)
{
	size_t count = 0;

	while (count < to_ring.length && ring->request_producer - ring->request_consumer < RING) {
		ring->requests[ring->request_producer % RING] = to_ring.bytes[count++];
		__sync_synchronize();
		ring->request_producer++;
	}
	drop(&to_ring, count);
	return count;
}

static void serve(int listener, const sigset_t *signals)
{
	static uint32_t last;
	struct client *unused = find_client(NOBODY);
	struct pollfd polled[CLIENTS + 2];
	size_t moved;
	uint32_t port;

	for (unsigned i = 0; i < CLIENTS; i++) {
		const struct client *client = &clients[i];
		polled[i].fd = client->number == NOBODY ? -1 : client->fd;
		polled[i].events = (to_ring.length < BACKLOG ? POLLIN : 0) | (client->out.length > 0 ? POLLOUT : 0);
	}
	polled[CLIENTS] = (struct pollfd){ unused ? listener : -1, POLLIN, 0 };
	polled[CLIENTS + 1] = (struct pollfd){ datagrams, POLLIN, 0 };
	if (ppoll(polled, CLIENTS + 2, NULL, signals) < 0)
		return;
	while (recv(datagrams, &port, sizeof port, MSG_DONTWAIT) == sizeof port)
		;
	for (unsigned i = 0; i < CLIENTS; i++) {
		struct client *client = &clients[i];
		if (polled[i].revents & POLLOUT) {
			ssize_t sent = send(client->fd, client->out.bytes, client->out.length, MSG_DONTWAIT | MSG_NOSIGNAL);
			drop(&client->out, sent > 0 ? sent : 0);
		}
		if (polled[i].revents & ~POLLOUT)
			receive(client);
	}
	if (polled[CLIENTS].revents) {
		unused->fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
		if (unused->fd >= 0)
			unused->number = ++last;
	}
	moved = take();
	moved += put();
	if (moved > 0)
		notify();
}

int main(int argc, char **argv)
{
	sigset_t blocked, before;
	char payload[64];
	int fd, listener;

	if (argc != 3) {
		fprintf(stderr, "usage: guest DIRECTORY DOMID\n");
		return 2;
	}
	directory = argv[1];
	domid = atoi(argv[2]);
	fd = open(address_of("dom%d.ring").sun_path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0 || ftruncate(fd, 4096))
		fail("ring");
	ring = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (ring == MAP_FAILED)
		fail("ring");
	datagrams = listen_at("dom%d.sock", SOCK_DGRAM);
	/* domid, the ring's frame and the event channel; the shim looks at neither of the last two */
	if (as_dom0(XS_INTRODUCE, payload, sprintf(payload, "%d%c1%c1", domid, 0, 0) + 1))
		return 1;
	/* Only while nothing is half done. */
	sigemptyset(&blocked);
	sigaddset(&blocked, SIGTERM);
	sigprocmask(SIG_BLOCK, &blocked, &before);
	signal(SIGTERM, leave);
	listener = listen_at("dom%d.client", SOCK_STREAM);
	for (;;)
		serve(listener, &before);
}
