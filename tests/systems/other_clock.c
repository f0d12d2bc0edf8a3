/* The clock of another year, for every program that is dynamically linked: preloaded by /etc/ld.so.preload.
 *
 * Not libfaketime: it moves what stat(2) says of files too, unless an environment variable says otherwise, and a
 * builder has none that its derivation does not give it.
 */
#define _GNU_SOURCE
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define SECONDS (500L * 24 * 60 * 60)

int clock_gettime(clockid_t clock, struct timespec *when) {
  int failed = (int)syscall(SYS_clock_gettime, clock, when);
  if (failed == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) when->tv_sec += SECONDS;
  return failed;
}

time_t time(time_t *seconds) {
  struct timespec when;
  clock_gettime(CLOCK_REALTIME, &when);
  if (seconds != NULL) *seconds = when.tv_sec;
  return when.tv_sec;
}

int gettimeofday(struct timeval *restrict when, void *restrict zone) {
  struct timespec now;
  (void)zone;
  clock_gettime(CLOCK_REALTIME, &now);
  when->tv_sec = now.tv_sec;
  when->tv_usec = now.tv_nsec / 1000;
  return 0;
}
