// Counts primes, and says so: ready, alive, how far it is, that it ends.
//
//   SIGTERM  end          SIGUSR1  hang, to see what becomes of it
#include <signal.h>
#include <stdio.h>
#include <time.h>

#include "notify.h"

enum { PIECE = 20000 }; // numbers looked at between two beats: a few milliseconds

static volatile sig_atomic_t is_stopping, is_stuck;

static void stop(int signal)
{
    (void)signal;
    is_stopping = 1;
}

static void get_stuck(int signal)
{
    (void)signal;
    is_stuck = 1;
}

static int is_prime(unsigned long number)
{
    for (unsigned long divisor = 2; divisor * divisor <= number; divisor++)
        if (number % divisor == 0)
            return 0;
    return number > 1;
}

int main(void)
{
    signal(SIGTERM, stop);
    signal(SIGUSR1, get_stuck);
    setvbuf(stdout, NULL, _IOLBF, 0);

    unsigned long number = 0, found = 0;
    char status[80];
    printf("counting\n");
    notify("READY=1\nSTATUS=counting");
    while (!is_stopping) {
        for (unsigned long end = number + PIECE; number < end; number++)
            found += (unsigned long)is_prime(number);
        while (is_stuck) // works hard, gets nowhere, beats no more
            number++;
        // From the loop that does the work, never from a timer: the beat must mean progress.
        snprintf(status, sizeof status, "WATCHDOG=1\nSTATUS=%lu primes below %lu", found, number);
        notify(status);
        nanosleep(&(struct timespec){.tv_nsec = 100 * 1000 * 1000}, NULL);
    }
    notify("STOPPING=1");
    printf("%lu primes below %lu\n", found, number);
    return 0;
}
