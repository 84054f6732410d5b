/*
 * A preload that takes the hypervisor's place for Debian's stock xenstored (C) and oxenstored, so that they serve a
 * unix socket on a machine without Xen, and guest domains whose ring page is a file.
 *
 * Replaced: what xenstored asks of libxenctrl, libxengnttab and libxenevtchn, the two xenfs files it reads about dom0,
 * the limit on open files it may not raise, and the socket path that is compiled into oxenstored.
 *
 * Files in $XSSHIM_DIR:
 *   dom<N>.ring   ring page of domain N; as long as it is there, the domain exists
 *   dom<N>.sock   datagram socket of guest N: gets a datagram whenever xenstored notifies its event channel
 *   evtchn.sock   datagram socket of xenstored: takes a 4-byte domid, whose channel is then pending
 */
#define _GNU_SOURCE
#define XC_WANT_COMPAT_DEVICEMODEL_API
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include <xenctrl.h>
#include <xenevtchn.h>
#include <xengnttab.h>

#define PAGE 4096
#define PORTS 4096
#define VIRQ_PORT 1
#define FIRST_PORT 2
#define ANY_HANDLE ((void *)0x10)
#define NOT_OURS (-2)

static int owner_of_port[PORTS]; /* domid + 1; 0: the port is free */
static int channel = -1;

static char *in_directory(char *buffer, size_t size, const char *format, unsigned domid)
{
	const char *directory = getenv("XSSHIM_DIR");
	int used = snprintf(buffer, size, "%s/", directory ? directory : ".");

	snprintf(buffer + used, size - used, format, domid);
	return buffer;
}

static int domain_exists(uint32_t domid)
{
	char path[256];

	return domid == 0 || access(in_directory(path, sizeof path, "dom%u.ring", domid), F_OK) == 0;
}

static void *next(const char *name)
{
	return dlsym(RTLD_NEXT, name);
}

/* libxenctrl */

xc_interface *xc_interface_open(xentoollog_logger *logger, xentoollog_logger *dombuild, unsigned flags)
{
	return ANY_HANDLE;
}

int xc_interface_close(xc_interface *handle)
{
	return 0;
}

/* The real call finds the first domain at or above `first`; xenstored compares the answer with what it asked. */
int xc_domain_getinfo(xc_interface *handle, uint32_t first, unsigned int max, xc_dominfo_t *info)
{
	if (!domain_exists(first))
		return 0;
	memset(info, 0, sizeof *info);
	info->domid = first;
	info->running = 1;
	return 1;
}

int xc_domain_getinfolist(xc_interface *handle, uint32_t first, unsigned int max, xc_domaininfo_t *info)
{
	unsigned int found = 0;

	for (uint32_t domid = first; domid < first + 64 && found < max; domid++) {
		if (!domain_exists(domid))
			continue;
		memset(&info[found], 0, sizeof info[found]);
		info[found].domain = domid;
		info[found].flags = XEN_DOMINF_running;
		found++;
	}
	return found;
}

/* The ring page of a domain is a file that both sides map. */
static void *map_ring(uint32_t domid)
{
	char path[256];
	int fd = open(in_directory(path, sizeof path, "dom%u.ring", domid), O_RDWR | O_CLOEXEC);
	void *page;

	if (fd < 0)
		return NULL;
	page = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	return page == MAP_FAILED ? NULL : page;
}

/* oxenstored maps a ring by its frame. */
void *xc_map_foreign_range(xc_interface *handle, uint32_t domid, int size, int protection, unsigned long frame)
{
	return map_ring(domid);
}

/* libxengnttab: C xenstored maps it by its grant */

xengnttab_handle *xengnttab_open(xentoollog_logger *logger, unsigned flags)
{
	return ANY_HANDLE;
}

int xengnttab_close(xengnttab_handle *handle)
{
	return 0;
}

int xengnttab_set_max_grants(xengnttab_handle *handle, uint32_t count)
{
	return 0;
}

void *xengnttab_map_grant_ref(xengnttab_handle *handle, uint32_t domid, uint32_t reference, int protection)
{
	return map_ring(domid);
}

int xengnttab_unmap(xengnttab_handle *handle, void *start, uint32_t count)
{
	return munmap(start, (size_t)PAGE * count);
}

/* libxenevtchn: an event is a datagram */

xenevtchn_handle *xenevtchn_open(xentoollog_logger *logger, unsigned flags)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };

	channel = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	in_directory(address.sun_path, sizeof address.sun_path, "evtchn.sock", 0);
	unlink(address.sun_path);
	if (channel < 0 || bind(channel, (struct sockaddr *)&address, sizeof address))
		return NULL;
	return ANY_HANDLE;
}

int xenevtchn_close(xenevtchn_handle *handle)
{
	return 0;
}

int xenevtchn_fd(xenevtchn_handle *handle)
{
	return channel;
}

xenevtchn_port_or_error_t xenevtchn_bind_virq(xenevtchn_handle *handle, unsigned virq)
{
	return VIRQ_PORT;
}

xenevtchn_port_or_error_t xenevtchn_bind_interdomain(xenevtchn_handle *handle, uint32_t domid, evtchn_port_t remote)
{
	for (int port = FIRST_PORT; port < PORTS; port++) {
		if (owner_of_port[port] == 0) {
			owner_of_port[port] = domid + 1;
			return port;
		}
	}
	errno = ENOSPC;
	return -1;
}

int xenevtchn_unbind(xenevtchn_handle *handle, evtchn_port_t port)
{
	if (port < PORTS)
		owner_of_port[port] = 0;
	return 0;
}

int xenevtchn_unmask(xenevtchn_handle *handle, evtchn_port_t port)
{
	return 0;
}

int xenevtchn_notify(xenevtchn_handle *handle, evtchn_port_t port)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	uint32_t value = port;

	if (port >= PORTS || owner_of_port[port] == 0) {
		errno = EINVAL;
		return -1;
	}
	if (owner_of_port[port] == 1) /* dom0's kernel: nobody is there */
		return 0;
	in_directory(address.sun_path, sizeof address.sun_path, "dom%u.sock", owner_of_port[port] - 1);
	sendto(channel, &value, sizeof value, MSG_DONTWAIT | MSG_NOSIGNAL, (struct sockaddr *)&address, sizeof address);
	return 0;
}

xenevtchn_port_or_error_t xenevtchn_pending(xenevtchn_handle *handle)
{
	uint32_t domid;

	if (recv(channel, &domid, sizeof domid, MSG_DONTWAIT) != sizeof domid)
		return -1;
	for (int port = FIRST_PORT; port < PORTS; port++)
		if (owner_of_port[port] == (int)domid + 1)
			return port;
	return 0;
}

/* The two xenfs files about dom0: C xenstored opens them by open(), oxenstored by open64(). */

static int open_xenfs(const char *path)
{
	char ring[256];
	int fd;

	if (strcmp(path, "/proc/xen/xsd_port") == 0) {
		fd = memfd_create("xsd_port", MFD_CLOEXEC);
		if (fd >= 0 && (write(fd, "7", 1) != 1 || lseek(fd, 0, SEEK_SET) != 0))
			return -1;
		return fd;
	}
	if (strcmp(path, "/proc/xen/xsd_kva") == 0) {
		int (*real)(const char *, int, ...) = next("open");

		in_directory(ring, sizeof ring, "dom%u.ring", 0);
		fd = real(ring, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
		if (fd >= 0 && ftruncate(fd, PAGE))
			return -1;
		return fd;
	}
	return NOT_OURS;
}

#define DEFINE_OPEN(name)                                                 \
	int name(const char *path, int flags, ...)                        \
	{                                                                 \
		int (*real)(const char *, int, ...) = next(#name);        \
		mode_t mode = 0;                                          \
		int fd = open_xenfs(path);                                \
                                                                          \
		if (flags & (O_CREAT | __O_TMPFILE)) {                    \
			va_list rest;                                     \
			va_start(rest, flags);                            \
			mode = va_arg(rest, mode_t);                      \
			va_end(rest);                                     \
		}                                                         \
		return fd == NOT_OURS ? real(path, flags, mode) : fd;     \
	}

DEFINE_OPEN(open)
DEFINE_OPEN(open64)

/* oxenstored wants more open files than a container's root may have, and dies without. */
int setrlimit(__rlimit_resource_t resource, const struct rlimit *limit)
{
	int (*real)(__rlimit_resource_t, const struct rlimit *) = next("setrlimit");

	return real(resource, limit) && errno != EPERM ? -1 : 0;
}

int bind(int fd, const struct sockaddr *address, socklen_t length)
{
	int (*real)(int, const struct sockaddr *, socklen_t) = next("bind");
	const struct sockaddr_un *wanted = (const struct sockaddr_un *)address;
	const char *instead = getenv("XSSHIM_SOCK");

	if (instead && address->sa_family == AF_UNIX && strstr(wanted->sun_path, "run/xenstored/socket")) {
		struct sockaddr_un moved = { .sun_family = AF_UNIX };

		snprintf(moved.sun_path, sizeof moved.sun_path, "%s", instead);
		unlink(instead);
		return real(fd, (struct sockaddr *)&moved, sizeof moved);
	}
	return real(fd, address, length);
}
