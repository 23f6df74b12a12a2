/* SPDX-License-Identifier: MIT */
/* urgent.c - MSG_OOB, SIOCATMARK and POLLPRI */
#include "t.h"

static void urgent(void)
{
	int e[2], at = -1;
	char buf[8];

	tcp_pair(AF_INET, e);
	ok(send(e[0], "abX", 3, MSG_OOB) == 3, "urgent data is sent");
	ok(wait_for(e[1], POLLPRI, 2000) & POLLPRI, "and seen as PRI");
	ok(recv(e[1], buf, 8, 0) == 2 && ioctl(e[1], SIOCATMARK, &at) == 0 && at == 1, "normal data stops at the mark");
	ok(recv(e[1], buf, 1, MSG_OOB) == 1 && buf[0] == 'X', "the urgent octet is read apart");
	close(e[0]);
	close(e[1]);
}

int main(void)
{
	urgent();
	done();
}
