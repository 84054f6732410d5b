// A user of the guest who tries to be in the way of the agent at the worst moment: changes his own files, over and over,
// until he is told to stop by SIGTERM. Prints how often, now and then and at the end.
//
//   attacker UID exchange A B        puts A in the place of B and B in that of A, at one blow
//   attacker UID follow A B          the same as soon as anybody does something in A, and back again
//   attacker UID plant NAME TARGET   makes a link NAME to TARGET, and takes it away again
//   attacker UID substitute NAME TARGET
//                                    as soon as there is a NAME, takes it away and puts a link to TARGET there
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

/// How many changes are told at once.
#define STEP 100

static volatile sig_atomic_t stopped;

static void stop(int signal) {
  (void)signal;
  stopped = 1;
}

static void fail(const char *what) {
  fprintf(stderr, "attacker: %s: %s\n", what, strerror(errno));
  exit(1);
}

static int watched(const char *directory) {
  const int fd = inotify_init();
  if (fd >= 0 && inotify_add_watch(fd, directory, IN_OPEN | IN_ACCESS | IN_CREATE | IN_MOVED_TO | IN_DELETE) < 0) return -1;
  return fd;
}

int main(int argc, char **argv) {
  if (argc != 5) {
    fprintf(stderr, "usage: attacker UID exchange|follow|plant|substitute A B\n");
    return 2;
  }
  const uid_t uid = (uid_t)atoi(argv[1]);
  const char *mode = argv[2], *a = argv[3], *b = argv[4];
  if (setgroups(0, NULL) || setresgid(uid, uid, uid) || setresuid(uid, uid, uid)) fail("cannot become the user");
  struct sigaction action = {.sa_handler = stop};
  sigaction(SIGTERM, &action, NULL);
  puts("ready");
  fflush(stdout);
  unsigned long count = 0, told = 0;
  int watch = -1;
  while (!stopped) {
    if (!strcmp(mode, "exchange")) {
      if (renameat2(AT_FDCWD, a, AT_FDCWD, b, RENAME_EXCHANGE)) fail("exchange");
      count++;
    } else if (!strcmp(mode, "follow")) {
      if (watch < 0 && (watch = watched(a)) < 0) fail("inotify");
      char events[4096];
      if (read(watch, events, sizeof events) <= 0) continue;
      if (renameat2(AT_FDCWD, a, AT_FDCWD, b, RENAME_EXCHANGE)) fail("exchange");
      count++;
      // As long as it takes to be led astray.
      usleep(500);
      if (renameat2(AT_FDCWD, a, AT_FDCWD, b, RENAME_EXCHANGE)) fail("exchange");
      close(watch);
      watch = -1;
    } else if (!strcmp(mode, "plant")) {
      if (!symlink(b, a)) count++;
      unlink(a);
    } else if (!strcmp(mode, "substitute")) {
      char away[4200];
      snprintf(away, sizeof away, "%s.%lu", a, count);
      if (rename(a, away)) continue;
      if (!symlink(b, a)) count++;
      // Long enough for whoever is about to follow it.
      for (int i = 0; i < 20; i++) {
        struct stat ignored;
        lstat(a, &ignored);
      }
      unlink(a);
    } else {
      return 2;
    }
    if (count >= told + STEP) {
      told = count;
      printf("%lu\n", count);
      fflush(stdout);
    }
  }
  printf("%lu\n", count);
  return 0;
}
