// Serves by poll(2): sends back what each connection sends. A guest of wasip1-host that knows nothing of it.
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

enum { LISTENER = 3, MOST = 128 };

int main(void) {
    struct pollfd fds[MOST] = {{.fd = LISTENER, .events = POLLIN}};
    nfds_t count = 1;

    if (fcntl(LISTENER, F_SETFL, O_NONBLOCK) != 0) {
        perror("the listener");
        return 1;
    }
    for (;;) {
        if (poll(fds, count, -1) < 0) {
            perror("poll");
            return 1;
        }
        for (nfds_t i = count; i-- > 1;) {
            char buf[4096];
            if (fds[i].revents == 0)
                continue;
            ssize_t got = read(fds[i].fd, buf, sizeof buf);
            if (got > 0 && write(fds[i].fd, buf, got) == got)
                continue;
            if (got < 0 && errno == EAGAIN) {
                // poll has reported what isn't ready: that is what this program is to find out.
                fprintf(stderr, "fd %d was not ready\n", fds[i].fd);
                return 1;
            }
            close(fds[i].fd);
            fds[i] = fds[--count];
        }
        if (fds[0].revents & POLLIN) {
            int fd = accept4(LISTENER, NULL, NULL, SOCK_NONBLOCK);
            if (fd >= 0 && count < MOST)
                fds[count++] = (struct pollfd){.fd = fd, .events = POLLIN};
            else if (fd >= 0)
                close(fd);
        } else if (fds[0].revents != 0) {
            // The host drains.
            return 0;
        }
    }
}
