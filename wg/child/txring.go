package main

// The consumer of the TS->Go ring. One goroutine reads record headers and queues descriptors to the devices; the octets
// stay in the ring until the device's tun Read copies them into WireGuard's buffers. Records are therefore finished out
// of order, and the ring's tail follows the oldest unfinished one. A device that does not take its records for 20 ms
// while the ring is three quarters full loses them, so that it cannot stop the others.

import (
	"errors"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

const (
	maxUnfinished  = 1 << 14 // records; a power of two
	maxDeviceQueue = 4096
	stuckAfter     = 20 * time.Millisecond
	scanBatch      = 256
)

// descriptor is one record in the ring, waiting for its device.
type descriptor struct {
	rec  record
	at   uint32 // octet of the payload in the ring
	slot uint32 // place in txRing.unfinished
}

type unfinished struct {
	end    uint32 // ring position behind the record
	size   uint32
	device int
	done   bool
}

type txRing struct {
	region                        *region
	data                          []byte
	mask                          uint32
	head, tail, sleeping, waiting *atomic.Uint32
	wakeup                        *os.File // eventfd TS->Go
	wakeupFd                      int
	notify                        func() // writes eventfd Go->TS

	// The reader's own.
	next    uint32 // ring position of the next record to look at
	touched []*tunDevice

	mu          sync.Mutex
	fifo        [maxUnfinished]unfinished
	first, last uint32 // slots in use: [first, last)
	parked      bool   // the reader waits for free slots

	devices [maxDevices]atomic.Pointer[tunDevice]
}

func newTxRing(r *region, wakeup *os.File, wakeupFd int, notify func()) *txRing {
	t := &txRing{
		region: r, data: r.txData(), mask: r.ringBytes - 1,
		head: r.word(offTxHead), tail: r.word(offTxTail), sleeping: r.word(offTxSleeping), waiting: r.word(offTxWaiting),
		wakeup: wakeup, wakeupFd: wakeupFd, notify: notify,
	}
	t.next = t.tail.Load() &^ (recordAlign - 1)
	return t
}

// run reads until the eventfd is closed.
func (t *txRing) run() {
	var word [8]byte
	watching := false
	for {
		if t.scan() {
			continue
		}
		t.sleeping.Store(1)
		if t.headNow() != t.next && t.hasSlots() {
			t.sleeping.Store(0)
			continue
		}
		tail := t.tail.Load()
		if t.next-tail > t.mask-t.mask/4 || !t.hasSlots() {
			watching = true
			_ = t.wakeup.SetReadDeadline(time.Now().Add(stuckAfter))
		} else if watching {
			watching = false
			_ = t.wakeup.SetReadDeadline(time.Time{})
		}
		// A count left over from an earlier turn makes this return at once: the scan then finds nothing.
		_, err := t.wakeup.Read(word[:])
		t.sleeping.Store(0)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			if t.tail.Load() == tail {
				t.evictOldest()
			}
		} else if err != nil {
			return
		}
	}
}

// headNow is the producer's position; its low bits mean nothing, so that any value lies on a record's border.
func (t *txRing) headNow() uint32 { return t.head.Load() &^ (recordAlign - 1) }

// hasSlots says whether a scan may go on; if not, the reader is woken when it may.
func (t *txRing) hasSlots() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.parked = t.last-t.first > maxUnfinished-scanBatch
	return !t.parked
}

// scan queues up to scanBatch records; false means that there was nothing to do.
func (t *txRing) scan() bool {
	head := t.headNow()
	if head == t.next || !t.hasSlots() {
		return false
	}
	if head-t.next > t.mask+1 {
		t.resync(head)
		return true
	}
	for n := 0; n < scanBatch && t.next != head; n++ {
		at := t.next & t.mask
		toEnd := t.mask + 1 - at
		room := min(head-t.next, toEnd)
		if le32(t.data[at:]) == wrapLen {
			if toEnd > room {
				t.resync(head)
				break
			}
			t.next += toEnd
			t.push(toEnd, -1, true)
			continue
		}
		rec := readRecord(t.data[at:])
		if rec.length <= 0 || rec.length > maxPacket || recordSize(rec.length) > room {
			t.resync(head)
			break
		}
		size := recordSize(rec.length)
		t.next += size
		var dev *tunDevice
		if rec.device < maxDevices {
			dev = t.devices[rec.device].Load()
		}
		if dev == nil {
			t.region.word(offDropTxNoDevice).Add(1)
			t.push(size, rec.device, true)
			continue
		}
		slot := t.push(size, rec.device, false)
		if !dev.queue(descriptor{rec: rec, at: at + recordHeader, slot: slot}) {
			t.region.word(offDropTxOverflow).Add(1)
			t.finish([]uint32{slot})
			continue
		}
		if !dev.touched {
			dev.touched = true
			t.touched = append(t.touched, dev)
		}
	}
	for i, dev := range t.touched {
		dev.touched = false
		t.touched[i] = nil
		kick(dev.tx.wake)
	}
	t.touched = t.touched[:0]
	t.advance()
	return true
}

// push notes the record that ends at t.next.
func (t *txRing) push(size uint32, device int, done bool) uint32 {
	t.mu.Lock()
	defer t.mu.Unlock()
	slot := t.last
	t.last++
	t.fifo[slot%maxUnfinished] = unfinished{end: t.next, size: size, device: device, done: done}
	if done {
		t.take(device, size)
	}
	return slot
}

// finish marks records as done and moves the tail.
func (t *txRing) finish(slots []uint32) {
	if len(slots) == 0 {
		return
	}
	t.mu.Lock()
	for _, s := range slots {
		u := &t.fifo[s%maxUnfinished]
		u.done = true
		t.take(u.device, u.size)
	}
	t.mu.Unlock()
	t.advance()
}

// take counts a device's record as taken and tells the router if it waits for that (the caller holds mu).
func (t *txRing) take(device int, size uint32) {
	if device < 0 || device >= maxDevices {
		return
	}
	taken := t.region.taken(device).Add(size)
	target := t.region.drainTarget(device)
	if w := target.Load(); w != 0 && int32(taken-w&^1) >= 0 && target.CompareAndSwap(w, 0) {
		t.notify()
	}
}

// advance publishes the tail behind the oldest finished records.
func (t *txRing) advance() {
	t.mu.Lock()
	defer t.mu.Unlock()
	was := t.first
	for t.first != t.last && t.fifo[t.first%maxUnfinished].done {
		t.first++
	}
	if t.first == was {
		return
	}
	tail := t.fifo[(t.first-1)%maxUnfinished].end
	t.tail.Store(tail)
	if w := t.waiting.Load(); w != 0 && int32(tail-w&^1) >= 0 && t.waiting.CompareAndSwap(w, 0) {
		t.notify()
	}
	if t.parked && t.last-t.first < maxUnfinished/2 {
		t.parked = false
		wake(t.wakeupFd)
	}
}

// resync gives up what lies between the reader's position and head: its lengths make no sense.
func (t *txRing) resync(head uint32) {
	t.region.word(offDropTxMalformed).Add(1)
	t.next = head
	t.push(0, -1, true)
	t.advance()
}

// evictOldest drops the queue of the device that holds the oldest unfinished record.
func (t *txRing) evictOldest() {
	t.mu.Lock()
	device := -1
	if t.first != t.last {
		device = t.fifo[t.first%maxUnfinished].device
	}
	t.mu.Unlock()
	if device < 0 || device >= maxDevices {
		return
	}
	if dev := t.devices[device].Load(); dev != nil {
		t.region.word(offDropTxOverflow).Add(uint32(dev.dropQueue()))
	}
}
