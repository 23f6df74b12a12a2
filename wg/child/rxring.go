package main

// The producer of the Go->TS ring, shared by all devices and peers of the process under one lock. It never waits for
// the router: a record that does not fit is dropped and counted.

import (
	"sync"
	"sync/atomic"
)

type rxRing struct {
	region               *region
	data                 []byte
	mask                 uint32
	head, tail, sleeping *atomic.Uint32
	notify               func()

	mu   sync.Mutex
	next uint32 // like head, but ahead of it while a batch is written
}

func newRxRing(r *region, notify func()) *rxRing {
	x := &rxRing{
		region: r, data: r.rxData(), mask: r.ringBytes - 1,
		head: r.word(offRxHead), tail: r.word(offRxTail), sleeping: r.word(offRxSleeping), notify: notify,
	}
	x.next = x.head.Load() &^ (recordAlign - 1)
	x.head.Store(x.next)
	return x
}

// write puts all groups of the batch into the ring and publishes them together; returns how many packets were dropped.
func (x *rxRing) write(c *coalescer, device int) (dropped int) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for i := 0; i < c.n; i++ {
		g := &c.groups[i]
		rec := g.record(device)
		dst := x.reserve(&rec)
		if dst == nil {
			dropped += g.count
			continue
		}
		c.write(g, dst)
	}
	if dropped > 0 {
		x.region.word(offDropRxFull).Add(uint32(dropped))
	}
	if x.head.Load() == x.next {
		return dropped
	}
	x.head.Store(x.next)
	if x.sleeping.Load() != 0 && x.sleeping.Swap(0) != 0 {
		x.notify()
	}
	return dropped
}

// reserve writes the record's header and returns the place of its octets; nil means that the ring is full.
func (x *rxRing) reserve(rec *record) []byte {
	size := recordSize(rec.length)
	at := x.next & x.mask
	need := size
	toEnd := x.mask + 1 - at
	if size > toEnd {
		need += toEnd
	}
	// The record stays in the ring's size even if the router wrote nonsense to its tail.
	if used := x.next - x.tail.Load(); used > x.mask+1 || need > x.mask+1-used {
		return nil
	}
	if size > toEnd {
		putLE32(x.data[at:], wrapLen)
		x.next += toEnd
		at = 0
	}
	writeRecord(x.data[at:at+recordHeader], rec)
	x.next += size
	at += recordHeader
	return x.data[at : at+uint32(rec.length)]
}
