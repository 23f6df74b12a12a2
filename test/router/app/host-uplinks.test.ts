import test from 'ava';
import { inodesIn, interfaceCounters } from '../../../router/app/host-uplinks.ts';

test('octets of interfaces are read from /proc/net/dev', (t) => {
  const counters = interfaceCounters(`Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo:    4284      48    0    0    0     0          0         0     4284      48    0    0    0     0       0          0
eth1.5:123456789012 9876    1    2    0     0          0         0   654321     321    0    7    0     0       0          0
`);
  t.deepEqual([...counters.keys()], ['lo', 'eth1.5']);
  t.deepEqual(counters.get('eth1.5'), {
    rxBytes: 123456789012,
    rxPackets: 9876,
    txBytes: 654321,
    txPackets: 321,
    txDropped: 7,
  });
});

test('sockets of /proc/net/tcp are known by their inodes; those without a process have none', (t) => {
  const text = `  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:0035 00000000:0000 0A 00000000:00000000 00:00000000 00000000   101        0 23456 1 0000000000000000 100 0 0 10 0
   1: 6401A8C0:A2F4 2271CB00:01BB 06 00000000:00000000 03:00000B5D 00000000     0        0 0 3 0000000000000000
   2: 6401A8C0:A2F6 2271CB00:01BB 01 00000000:00000000 00:00000000 00000000  1000        0 4294967290 1 0000000000000000
`;
  t.deepEqual(inodesIn(text), [23456, 4294967290]);
});
