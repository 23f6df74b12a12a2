/* SPDX-License-Identifier: MIT */
/* transfer.c - sendfile(), splice(), stdio on a socket, slow readers, many small writes */
#include "t.h"

#include <sys/sendfile.h>

#define SIZE (1 << 20)

struct sink {
	int fd;
	int pause_us;
	size_t got;
	unsigned long sum;
};

static void *drain(void *arg)
{
	struct sink *s = arg;
	unsigned char buf[16384];
	ssize_t r;

	while ((r = read(s->fd, buf, sizeof(buf))) > 0) {
		for (ssize_t i = 0; i < r; i++)
			s->sum = s->sum * 31 + buf[i];
		s->got += (size_t)r;
		if (s->pause_us)
			usleep((useconds_t)s->pause_us);
	}
	return NULL;
}

static int make_file(unsigned long *sum)
{
	char path[] = "/tmp/mlshim-test-XXXXXX";
	int fd = must(mkstemp(path));
	unsigned char *all = malloc(SIZE);

	unlink(path);
	*sum = 0;
	for (int i = 0; i < SIZE; i++) {
		all[i] = (unsigned char)(i * 2654435761U >> 24);
		*sum = *sum * 31 + all[i];
	}
	write_full(fd, all, SIZE);
	lseek(fd, 0, SEEK_SET);
	free(all);
	return fd;
}

static void send_file(void)
{
	struct sink s = {0};
	unsigned long sum;
	int f = make_file(&sum), e[2];
	off_t at = 0;
	pthread_t t;

	tcp_pair(AF_INET, e);
	s.fd = e[1];
	pthread_create(&t, NULL, drain, &s);
	while (at < SIZE && sendfile(e[0], f, &at, SIZE - (size_t)at) > 0)
		;
	close(e[0]);
	pthread_join(t, NULL);
	ok(s.got == SIZE && s.sum == sum, "sendfile() delivers a file");
	close(e[1]);
	close(f);
}

static void splices(void)
{
	struct sink s = {0};
	unsigned long sum;
	int f = make_file(&sum), e[2], p[2];
	ssize_t r;
	pthread_t t;

	tcp_pair(AF_INET, e);
	must(pipe(p));
	s.fd = e[1];
	pthread_create(&t, NULL, drain, &s);
	while ((r = splice(f, NULL, p[1], NULL, 65536, 0)) > 0)
		while (r > 0) {
			ssize_t w = splice(p[0], NULL, e[0], NULL, (size_t)r, 0);

			if (w <= 0)
				break;
			r -= w;
		}
	close(e[0]);
	pthread_join(t, NULL);
	ok(s.got == SIZE && s.sum == sum, "splice() moves a file through a pipe into a socket");
	close(e[1]);
	tcp_pair(AF_INET, e);
	write_full(e[0], "spliced", 7);
	{
		char buf[8];

		ok(splice(e[1], NULL, p[1], NULL, 7, 0) == 7 && read(p[0], buf, 8) == 7 && !memcmp(buf, "spliced", 7),
		   "and out of one");
	}
	close(e[0]);
	close(e[1]);
	close(p[0]);
	close(p[1]);
	close(f);
}

static void slow_reader(void)
{
	struct sink s = {.pause_us = 500};
	unsigned long sum;
	int f = make_file(&sum), e[2];
	char buf[1000];
	ssize_t r;
	pthread_t t;

	tcp_pair(AF_INET6, e);
	s.fd = e[1];
	pthread_create(&t, NULL, drain, &s);
	set_nonblocking(e[0]);
	while ((r = read(f, buf, sizeof(buf))) > 0)
		for (ssize_t at = 0, w; at<r; at += w> 0 ? w : 0) {
			w = write(e[0], buf + at, (size_t)(r - at));
			if (w < 0 && errno == EAGAIN)
				wait_for(e[0], POLLOUT, 5000);
			else if (w < 0)
				break;
		}
	close(e[0]);
	pthread_join(t, NULL);
	ok(s.got == SIZE && s.sum == sum, "a non-blocking writer waits for a slow reader, and close() loses nothing");
	close(e[1]);
	close(f);
}

static void standard_io(void)
{
	int e[2];
	FILE *in, *out;
	char line[64];

	tcp_pair(AF_INET, e);
	out = fdopen(e[0], "w");
	in = fdopen(e[1], "r");
	fprintf(out, "line %d\nlast", 1);
	fclose(out);
	ok(fgets(line, 64, in) && !strcmp(line, "line 1\n") && fgets(line, 64, in) && !strcmp(line, "last") &&
	       !fgets(line, 64, in),
	   "stdio works on a connection");
	fclose(in);
}

static void small_writes(void)
{
	struct sink s = {0};
	int e[2], n = 0;
	pthread_t t;

	tcp_pair(AF_INET, e);
	s.fd = e[1];
	pthread_create(&t, NULL, drain, &s);
	for (int i = 0; i < 20000; i++)
		n += write(e[0], "abc", 3) == 3;
	close(e[0]);
	pthread_join(t, NULL);
	ok(n == 20000 && s.got == 60000, "20,000 writes of three octets");
	close(e[1]);
}

int main(void)
{
	signal(SIGPIPE, SIG_IGN);
	send_file();
	splices();
	slow_reader();
	standard_io();
	small_writes();
	done();
}
