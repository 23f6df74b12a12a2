package main

// A WireGuard device's packet side: Read takes records from the TS->Go ring and cuts them, Write coalesces received
// packets into the Go->TS ring. One tunDevice per WireGuard device; wireguard-go calls Read from one goroutine and
// Write from one per peer.

import (
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.zx2c4.com/wireguard/tun"
)

type tunDevice struct {
	index  int
	name   string
	mtu    atomic.Int32
	txRing *txRing
	rxRing *rxRing
	tx, rx *limiter
	events chan tun.Event
	closed chan struct{}
	once   sync.Once

	touched bool // the ring reader's own

	qmu   sync.Mutex
	items []descriptor // a ring buffer; len is a power of two
	head  int
	count int

	readMu   sync.Mutex // the record being cut, also needed by dropQueue
	cut      splitter
	cutSlot  uint32
	finished []uint32
	lastBuf  [maxBatch]*byte // the buffers of the last Read, by which lost packets are known
	lastN    int
	timer    *time.Timer

	scratch sync.Pool

	noPeer  atomic.Uint64 // packets WireGuard had no peer for
	drained atomic.Uint64 // records dropped because the device was stuck or closed
}

func newTunDevice(index int, name string, mtu int, tx *txRing, rx *rxRing, all *sums) *tunDevice {
	d := &tunDevice{
		index: index, name: name, txRing: tx, rxRing: rx,
		tx:     newLimiter(txLimit, txGiveUp, true, &all.tx, txLimitAll),
		rx:     newLimiter(rxLimit, rxGiveUp, false, &all.rx, rxLimitAll),
		events: make(chan tun.Event, 4),
		closed: make(chan struct{}),
		items:  make([]descriptor, 64),
		timer:  time.NewTimer(time.Hour),
	}
	d.scratch.New = func() any { return new(coalescer) }
	d.mtu.Store(int32(mtu))
	return d
}

// sums counts the packets all devices of the process hold.
type sums struct{ tx, rx atomic.Int64 }

// queue takes a descriptor from the ring reader; false means that the device's queue is full or closed.
func (d *tunDevice) queue(x descriptor) bool {
	d.qmu.Lock()
	defer d.qmu.Unlock()
	if d.count == len(d.items) {
		if d.count >= maxDeviceQueue {
			return false
		}
		bigger := make([]descriptor, 2*len(d.items))
		for i := range d.count {
			bigger[i] = d.items[(d.head+i)&(len(d.items)-1)]
		}
		d.items, d.head = bigger, 0
	}
	select {
	case <-d.closed:
		return false
	default:
	}
	d.items[(d.head+d.count)&(len(d.items)-1)] = x
	d.count++
	return true
}

func (d *tunDevice) pop() (descriptor, bool) {
	d.qmu.Lock()
	defer d.qmu.Unlock()
	if d.count == 0 {
		return descriptor{}, false
	}
	x := d.items[d.head]
	d.head = (d.head + 1) & (len(d.items) - 1)
	d.count--
	return x, true
}

// Read fills bufs with packets; it waits until there is at least one and WireGuard may hold more.
func (d *tunDevice) Read(bufs [][]byte, sizes []int, offset int) (int, error) {
	for {
		// WireGuard keeps a buffer whose packet has a peer. The same buffer again: the packet before had none.
		lost := 0
		for i := 0; i < d.lastN && i < len(bufs); i++ {
			if d.lastBuf[i] == &bufs[i][0] {
				lost++
			}
		}
		d.lastN = 0
		if lost > 0 {
			d.noPeer.Add(uint64(lost))
			d.tx.drop(lost)
		}
		room, wait := d.tx.room()
		if room > 0 {
			if n := d.fill(bufs[:min(len(bufs), room, d.tx.batch())], sizes, offset); n > 0 {
				d.tx.enter(n)
				for i := range n {
					d.lastBuf[i] = &bufs[i][0]
				}
				d.lastN = n
				return n, nil
			}
			wait = time.Hour
		}
		d.timer.Reset(wait)
		select {
		case <-d.tx.wake:
		case <-d.timer.C:
		case <-d.closed:
			return 0, os.ErrClosed
		}
	}
}

// fill cuts queued records into bufs. A fault in a record costs that record only.
func (d *tunDevice) fill(bufs [][]byte, sizes []int, offset int) (n int) {
	d.readMu.Lock()
	defer d.readMu.Unlock()
	defer func() {
		if r := recover(); r != nil {
			d.txRing.region.word(offPanics).Add(1)
			logf("error", "device %d: record dropped after an internal fault: %v", d.index, r)
			d.cut.active = false
			d.finished = append(d.finished, d.cutSlot)
		}
		d.txRing.finish(d.finished)
		d.finished = d.finished[:0]
	}()
	for n < len(bufs) {
		if !d.cut.active {
			x, ok := d.pop()
			if !ok {
				break
			}
			d.cutSlot = x.slot
			if !d.cut.begin(x.rec, d.txRing.data[x.at:x.at+uint32(x.rec.length)]) {
				d.txRing.region.word(offDropTxMalformed).Add(1)
				d.finished = append(d.finished, x.slot)
				continue
			}
		}
		sizes[n] = d.cut.next(bufs[n][offset:])
		n++
		if !d.cut.active {
			d.finished = append(d.finished, d.cutSlot)
		}
	}
	return n
}

// dropQueue gives up everything queued; returns the number of records.
func (d *tunDevice) dropQueue() int {
	d.readMu.Lock()
	defer d.readMu.Unlock()
	var slots []uint32
	if d.cut.active {
		d.cut.active = false
		slots = append(slots, d.cutSlot)
	}
	for {
		x, ok := d.pop()
		if !ok {
			break
		}
		slots = append(slots, x.slot)
	}
	d.drained.Add(uint64(len(slots)))
	d.txRing.finish(slots)
	return len(slots)
}

// Write delivers decrypted packets to the router. The slices go back to WireGuard's pool when it returns.
func (d *tunDevice) Write(bufs [][]byte, offset int) (int, error) {
	d.rx.leave(len(bufs))
	c := d.scratch.Get().(*coalescer)
	defer d.scratch.Put(c)
	for from := 0; from < len(bufs); from += maxBatch {
		d.deliver(c, bufs[from:min(len(bufs), from+maxBatch)], offset)
	}
	return len(bufs), nil
}

func (d *tunDevice) deliver(c *coalescer, bufs [][]byte, offset int) {
	defer c.reset()
	defer func() {
		if r := recover(); r != nil {
			d.rxRing.region.word(offPanics).Add(1)
			logf("error", "device %d: batch dropped after an internal fault: %v", d.index, r)
		}
	}()
	for _, b := range bufs {
		if len(b) <= offset || len(b)-offset > maxPacket {
			d.rxRing.region.word(offDropRxMalformed).Add(1)
			continue
		}
		c.add(b[offset:])
	}
	d.rxRing.write(c, d.index)
}

func (d *tunDevice) setMTU(mtu int) {
	if d.mtu.Swap(int32(mtu)) == int32(mtu) {
		return
	}
	d.qmu.Lock()
	defer d.qmu.Unlock()
	select {
	case <-d.closed: // events is closed too
	default:
		select {
		case d.events <- tun.EventMTUUpdate:
		default: // one is waiting to be read; it will find the newest value
		}
	}
}

func (d *tunDevice) File() *os.File           { return nil }
func (d *tunDevice) MTU() (int, error)        { return int(d.mtu.Load()), nil }
func (d *tunDevice) Name() (string, error)    { return d.name, nil }
func (d *tunDevice) Events() <-chan tun.Event { return d.events }
func (d *tunDevice) BatchSize() int           { return maxBatch }
func (d *tunDevice) String() string           { return fmt.Sprintf("%d (%s)", d.index, d.name) }

// Close ends Read and gives queued records back to the ring.
func (d *tunDevice) Close() error {
	d.once.Do(func() {
		d.qmu.Lock()
		close(d.closed)
		close(d.events)
		d.qmu.Unlock()
		d.dropQueue()
		d.tx.forget()
		d.rx.forget()
	})
	return nil
}
