package main

// Bounds how many packets WireGuard holds, since wireguard-go's own queues have no useful bound. Packets are counted
// when they enter (tun Read, UDP receive) and when they leave (Bind.Send, tun Write). WireGuard also drops packets
// silently (no session, no peer, failed authentication), so packets that have not come out after a time are given up.

import (
	"sync"
	"sync/atomic"
	"time"
)

const (
	txLimit     = 384 // packets of one device between Read and Send
	rxLimit     = 512 // packets of one device between UDP receive and Write
	txLimitAll  = 768 // of all devices of the process
	rxLimitAll  = 768
	limitFloor  = 32 // what a device may hold although others have used up the sum
	txGiveUp    = 50 * time.Millisecond
	rxGiveUp    = 20 * time.Millisecond
	sharedRetry = time.Millisecond
	leakyBatch  = 16
)

// limiter counts the packets of one direction of one device.
type limiter struct {
	limit  int
	giveUp time.Duration
	stages bool // WireGuard holds packets back while it has no session
	all    *atomic.Int64
	allMax int64
	wake   chan struct{} // gets a token when room appears; capacity 1

	mu       sync.Mutex
	in, out  uint64 // totals; out includes what was given up
	waiting  bool
	start    time.Time // the window
	startIn  uint64
	progress bool // something left in this window
	leaky    bool // the last window lost packets
	live     bool // packets came out since the last window in which all were lost
}

func newLimiter(limit int, giveUp time.Duration, stages bool, all *atomic.Int64, allMax int64) *limiter {
	return &limiter{limit: limit, giveUp: giveUp, stages: stages, live: !stages, all: all, allMax: allMax,
		wake: make(chan struct{}, 1)}
}

// room says how many packets may enter now. With none, the caller waits for wake, at most for the returned time.
func (l *limiter) room() (int, time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.live {
		return l.limit, 0
	}
	held := int(l.in - l.out)
	// The clock is read only when it can matter.
	if held > l.limit/2 || l.leaky || l.all.Load() >= l.allMax {
		now := time.Now()
		if age := now.Sub(l.start); age >= l.giveUp {
			l.turn(now)
			held = int(l.in - l.out)
		}
		if held >= l.limit {
			l.waiting = true
			return 0, max(l.giveUp-now.Sub(l.start), sharedRetry)
		}
		if held >= limitFloor && l.all.Load() >= l.allMax {
			l.waiting = true
			return 0, sharedRetry
		}
	}
	l.waiting = false
	return l.limit - held, 0
}

// turn ends a window: what had entered before it and has not left is given up.
func (l *limiter) turn(now time.Time) {
	l.leaky = l.startIn > l.out
	if l.leaky {
		l.release(int(l.startIn - l.out))
	}
	if l.stages && !l.progress && l.leaky {
		l.live = false
		l.release(int(l.in - l.out))
	}
	l.progress = false
	l.start = now
	l.startIn = l.in
}

func (l *limiter) release(n int) {
	n = min(n, int(l.in-l.out)) // late leavers were given up before
	l.out += uint64(n)
	l.all.Add(int64(-n))
}

// enter counts packets that go in; not those of a device that is not live, see batch.
func (l *limiter) enter(n int) {
	l.mu.Lock()
	if l.live {
		l.in += uint64(n)
		l.all.Add(int64(n))
	}
	l.mu.Unlock()
}

// leave counts packets that came out.
func (l *limiter) leave(n int) {
	l.mu.Lock()
	l.progress = true
	l.live = true
	l.release(n)
	wake := l.waiting && int(l.in-l.out) <= l.limit/2
	l.mu.Unlock()
	if wake {
		kick(l.wake)
	}
}

// drop counts packets known to be lost.
func (l *limiter) drop(n int) {
	l.mu.Lock()
	l.release(n)
	l.mu.Unlock()
}

// batch is the largest useful number of packets per call. While no session lets packets out, WireGuard keeps the
// newest 128 batches per peer, so batches of one need no count: it keeps what the kernel's WireGuard would keep, in 8 MB.
func (l *limiter) batch() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case !l.live:
		return 1
	case l.leaky:
		return leakyBatch
	}
	return maxBatch
}

// forget gives back everything the device held; it is gone.
func (l *limiter) forget() {
	l.mu.Lock()
	l.release(int(l.in - l.out))
	l.mu.Unlock()
}

func kick(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
