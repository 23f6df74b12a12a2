package main

import (
	"bytes"
	"crypto/ecdh"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"golang.zx2c4.com/wireguard/device"
)

const testRing = minRingBytes

// router plays the other side of the rings.
type router struct {
	t      testing.TB
	region *region
	tx     *txRing
	rx     *rxRing
	wakeup int
	server *server
	txNext uint32
	rxTail uint32
}

func newMemory(ring uint32) []byte {
	mem := make([]byte, headerBytes+2*int(ring))
	binary.LittleEndian.PutUint32(mem[offMagic:], regionMagic)
	binary.LittleEndian.PutUint32(mem[offVersion:], layoutVersion)
	binary.LittleEndian.PutUint32(mem[offRingBytes:], ring)
	return mem
}

func newRouter(t testing.TB, ring uint32) *router {
	reg, err := newRegion(newMemory(ring))
	if err != nil {
		t.Fatal(err)
	}
	r := &router{t: t, region: reg}
	r.attach()
	return r
}

// attach starts a child on the region, as a restart does.
func (r *router) attach() {
	fd, err := unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC)
	if err != nil {
		r.t.Fatal(err)
	}
	file := os.NewFile(uintptr(fd), "wakeup")
	r.wakeup = fd
	r.tx = newTxRing(r.region, file, fd, func() {})
	r.rx = newRxRing(r.region, func() {})
	r.server = newServer(discard{}, r.region, r.tx, r.rx)
	done := make(chan struct{})
	go func() {
		r.tx.run()
		close(done)
	}()
	r.t.Cleanup(func() {
		file.Close()
		<-done
	})
}

type discard struct{}

func (discard) Read([]byte) (int, error)    { return 0, io.EOF }
func (discard) Write(b []byte) (int, error) { return len(b), nil }

// send writes a record; false when the ring is full.
func (r *router) send(rec record, data []byte) bool {
	rec.length = len(data)
	size := recordSize(len(data))
	ring := r.region.ringBytes
	at := r.txNext & (ring - 1)
	need := size
	if at+size > ring {
		need += ring - at
	}
	if r.txNext-r.region.word(offTxTail).Load()+need > ring {
		return false
	}
	if at+size > ring {
		putLE32(r.region.txData()[at:], wrapLen)
		r.txNext += ring - at
		at = 0
	}
	writeRecord(r.region.txData()[at:], &rec)
	copy(r.region.txData()[at+recordHeader:], data)
	r.txNext += size
	r.region.word(offTxHead).Store(r.txNext)
	if r.region.word(offTxSleeping).Swap(0) != 0 {
		wake(r.wakeup)
	}
	return true
}

// receive returns the records that came.
func (r *router) receive() (recs []record, data [][]byte) {
	head := r.region.word(offRxHead).Load()
	for r.rxTail != head {
		at := r.rxTail & (r.region.ringBytes - 1)
		b := r.region.rxData()[at:]
		if le32(b) == wrapLen {
			r.rxTail += r.region.ringBytes - at
			continue
		}
		rec := readRecord(b)
		recs = append(recs, rec)
		data = append(data, bytes.Clone(b[recordHeader:recordHeader+rec.length]))
		r.rxTail += recordSize(rec.length)
	}
	r.region.word(offRxTail).Store(r.rxTail)
	return recs, data
}

// device makes a tunDevice that no WireGuard reads.
func (r *router) device(index int) *tunDevice {
	d := newTunDevice(index, "test", 1420, r.tx, r.rx, &r.server.sums)
	r.tx.devices[index].Store(d)
	return d
}

func (r *router) do(lines ...string) (int, string) {
	var out bytes.Buffer
	var block []line
	for _, l := range lines {
		k, v, _ := strings.Cut(l, "=")
		block = append(block, line{k, v})
	}
	return r.server.handle(block, &out), out.String()
}

func waitFor(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !ok(); time.Sleep(100 * time.Microsecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

func readBufs() ([][]byte, []int) {
	bufs := make([][]byte, maxBatch)
	for i := range bufs {
		bufs[i] = make([]byte, maxPacket)
	}
	return bufs, make([]int, maxBatch)
}

func TestLayout(t *testing.T) {
	if maxDevices != 896 || offDevices+maxDevices*deviceBytes != headerBytes {
		t.Fatalf("%d devices", maxDevices)
	}
	var h [recordHeader]byte
	want := record{length: 65535, flags: 7, gsoType: 3, hdrLen: 60, gsoSize: 1380, csumStart: 40, csumOffset: 16, device: 895}
	writeRecord(h[:], &want)
	if got := readRecord(h[:]); got != want {
		t.Fatalf("%+v", got)
	}
}

func TestARegionOfAnotherKindIsRefused(t *testing.T) {
	for _, change := range []func(m []byte) []byte{
		func(m []byte) []byte { m[0]++; return m },
		func(m []byte) []byte { m[offVersion]++; return m },
		func(m []byte) []byte { m[offRingBytes] = 1; return m },
		func(m []byte) []byte { return m[:len(m)-1] },
	} {
		if _, err := newRegion(change(newMemory(testRing))); err == nil {
			t.Error("accepted")
		}
	}
}

func TestRecordsReachTheirDevicesInOrderAcrossTheRingsEnd(t *testing.T) {
	r := newRouter(t, testRing)
	rnd := rand.New(rand.NewPCG(1, 2))
	devs := []*tunDevice{r.device(0), r.device(5)}
	for _, d := range devs {
		d.tx.leave(1) // a session exists
	}
	var want, got [2][][]byte
	bufs, sizes := readBufs()
	for range 3000 {
		k := rnd.IntN(2)
		p := packetSpec{ttl: 64, flags: tcpACK, seq: rnd.Uint32(), payload: payload(rnd, rnd.IntN(3000))}.build()
		for !r.send(record{device: devs[k].index}, p) {
			for j, d := range devs {
				if d.pending() == 0 {
					continue
				}
				n, err := d.Read(bufs, sizes, 16)
				if err != nil {
					t.Fatal(err)
				}
				for i := range n {
					got[j] = append(got[j], bytes.Clone(bufs[i][16:16+sizes[i]]))
				}
				d.tx.leave(n)
				d.lastN = 0
			}
		}
		want[k] = append(want[k], p)
	}
	for j, d := range devs {
		for len(got[j]) < len(want[j]) {
			n, _ := d.Read(bufs, sizes, 16)
			for i := range n {
				got[j] = append(got[j], bytes.Clone(bufs[i][16:16+sizes[i]]))
			}
			d.tx.leave(n)
			d.lastN = 0
		}
		for i := range want[j] {
			if !bytes.Equal(want[j][i], got[j][i]) {
				t.Fatalf("device %d packet %d differs", j, i)
			}
		}
	}
	waitFor(t, "an empty ring", func() bool { return r.region.word(offTxTail).Load() == r.txNext })
}

func (d *tunDevice) pending() int {
	d.qmu.Lock()
	defer d.qmu.Unlock()
	return d.count
}

func TestASuperSegmentSpreadsOverReads(t *testing.T) {
	r := newRouter(t, testRing)
	d := r.device(1)
	d.tx.leave(1)
	p := packetSpec{ttl: 64, flags: tcpACK | tcpPSH, payload: make([]byte, 10*100)}.build()
	r.send(record{device: 1, flags: flagGso, gsoType: gsoTCPv4, hdrLen: 40, gsoSize: 100, csumStart: 20, csumOffset: 16}, p)
	bufs, sizes := readBufs()
	total := 0
	for total < 10 {
		n, err := d.Read(bufs[:3], sizes[:3], 16)
		if err != nil || n == 0 || n > 3 {
			t.Fatalf("%d, %v", n, err)
		}
		for i := range n {
			total++
			if psh := bufs[i][16+33]&tcpPSH != 0; psh != (total == 10) {
				t.Fatalf("segment %d: PSH %v", total, psh)
			}
		}
		d.tx.leave(n)
		d.lastN = 0
	}
	waitFor(t, "an empty ring", func() bool { return r.region.word(offTxTail).Load() == r.txNext })
}

func TestAStuckDeviceLosesItsRecordsAndTheOthersGoOn(t *testing.T) {
	r := newRouter(t, testRing)
	stuck, good := r.device(1), r.device(2)
	good.tx.leave(1)
	var delivered atomic.Int64
	go func() {
		bufs, sizes := readBufs()
		for {
			n, err := good.Read(bufs, sizes, 16)
			if err != nil {
				return
			}
			delivered.Add(int64(n))
			good.tx.leave(n)
			good.lastN = 0
		}
	}()
	p := packetSpec{ttl: 64, flags: tcpACK, payload: make([]byte, 1300)}.build()
	sent := int64(0)
	waitFor(t, "the others' packets", func() bool {
		r.send(record{device: 1}, p)
		if r.send(record{device: 2}, p) {
			sent++
		}
		return sent > 2000
	})
	waitFor(t, "all of them", func() bool { return delivered.Load() == sent })
	if stuck.drained.Load() == 0 || r.region.word(offDropTxOverflow).Load() == 0 {
		t.Fatal("nothing was given up")
	}
	good.Close()
}

func TestTheRouterIsToldWhenADeviceHasDrained(t *testing.T) {
	r := newRouter(t, testRing)
	var told atomic.Int64
	r.tx.notify = func() { told.Add(1) }
	d := r.device(1)
	d.tx.leave(1)
	p := packetSpec{ttl: 64, flags: tcpACK, payload: make([]byte, 1000)}.build()
	for range 100 {
		r.send(record{device: 1}, p)
	}
	half := recordSize(len(p)) * 50
	r.region.drainTarget(1).Store(half | 1)
	bufs, sizes := readBufs()
	for seen := 0; seen < 100; {
		before := r.region.taken(1).Load()
		if (told.Load() > 0) != (before >= half) {
			t.Fatalf("told %d times after %d of %d octets", told.Load(), before, half)
		}
		n, _ := d.Read(bufs[:10], sizes[:10], 16)
		seen += n
		d.tx.leave(n)
		d.lastN = 0
	}
	if told.Load() != 1 || r.region.drainTarget(1).Load() != 0 {
		t.Fatalf("told %d times", told.Load())
	}
}

func TestANewChildGoesOnWhereTheOldOneStopped(t *testing.T) {
	r := newRouter(t, testRing)
	p := packetSpec{ttl: 64, flags: tcpACK, payload: make([]byte, 1000)}.build()
	d := r.device(1)
	d.tx.leave(1)
	for range 10 {
		r.send(record{device: 1}, p)
	}
	bufs, sizes := readBufs()
	n, _ := d.Read(bufs[:4], sizes[:4], 16)
	waitFor(t, "the tail", func() bool { return r.region.word(offTxTail).Load() == uint32(n)*recordSize(len(p)) })
	r.attach()
	d = r.device(1)
	d.tx.leave(1)
	left := 10 - n
	for left > 0 {
		n, _ = d.Read(bufs, sizes, 16)
		left -= n
	}
	if left != 0 {
		t.Fatalf("%d too many", -left)
	}
}

func TestGarbageInTheRingIsGivenUp(t *testing.T) {
	r := newRouter(t, testRing)
	d := r.device(1)
	d.tx.leave(1)
	p := packetSpec{ttl: 64, flags: tcpACK, payload: make([]byte, 100)}.build()
	for _, length := range []uint32{0, 0x7fffffff, 65536, testRing, wrapLen - 1} {
		putLE32(r.region.txData()[r.txNext&(testRing-1):], length)
		r.txNext += 4096
		r.region.word(offTxHead).Store(r.txNext)
		wake(r.wakeup)
		waitFor(t, "the garbage to go", func() bool { return r.region.word(offTxTail).Load() == r.txNext })
		r.send(record{device: 1}, p)
		bufs, sizes := readBufs()
		if n, err := d.Read(bufs, sizes, 16); n != 1 || err != nil {
			t.Fatalf("%d, %v", n, err)
		}
		d.tx.leave(1)
	}
}

func FuzzTxRing(f *testing.F) {
	f.Add(make([]byte, 64), uint32(64))
	f.Add([]byte{0xff, 0xff, 0xff, 0xff}, uint32(testRing))
	f.Fuzz(func(t *testing.T, data []byte, head uint32) {
		r := newRouter(t, testRing)
		d := r.device(0)
		d.tx.leave(1)
		go func() {
			bufs, sizes := readBufs()
			for {
				n, err := d.Read(bufs, sizes, 16)
				if err != nil {
					return
				}
				d.tx.leave(n)
				d.lastN = 0
			}
		}()
		defer d.Close()
		copy(r.region.txData(), data)
		r.region.word(offTxHead).Store(head)
		wake(r.wakeup)
		waitFor(t, "the end of the ring", func() bool { return r.region.word(offTxTail).Load() == head&^(recordAlign-1) })
	})
}

func TestAFullRingDropsAndCounts(t *testing.T) {
	r := newRouter(t, testRing)
	d := r.device(1)
	rnd := rand.New(rand.NewPCG(5, 5))
	batch := tcpRun(rnd, packetSpec{ttl: 64, flags: tcpACK}, 64, 1380)
	var bufs [][]byte
	for _, p := range batch {
		bufs = append(bufs, append(make([]byte, 16), p...))
	}
	for range 10 {
		if n, err := d.Write(bufs, 16); n != 64 || err != nil {
			t.Fatalf("%d, %v", n, err)
		}
	}
	recs, data := r.receive()
	got := 0
	for i := range recs {
		got += len(cutAll(t, recs[i], data[i]))
	}
	if dropped := int(r.region.word(offDropRxFull).Load()); dropped == 0 || got+dropped != 640 {
		t.Fatalf("%d delivered, %d dropped", got, dropped)
	}
	for range 20 { // and the ring is usable again, across its end
		d.Write(bufs, 16)
		if recs, _ := r.receive(); len(recs) != 2 {
			t.Fatalf("%d records", len(recs))
		}
	}
}

func TestTheLimitHoldsAndLetsGo(t *testing.T) {
	var all atomic.Int64
	l := newLimiter(100, 20*time.Millisecond, true, &all, 1000)
	l.leave(0)
	l.enter(100)
	if n, wait := l.room(); n != 0 || wait <= 0 {
		t.Fatalf("room %d", n)
	}
	l.leave(60)
	select {
	case <-l.wake:
	default:
		t.Fatal("not woken")
	}
	if n, _ := l.room(); n != 60 || all.Load() != 40 {
		t.Fatalf("room %d, all %d", n, all.Load())
	}
	l.enter(60)
	// Nothing comes out any more: it is given up, and the device counts as one without a session.
	waitFor(t, "room", func() bool { n, _ := l.room(); return n == 100 })
	if l.batch() != 1 || all.Load() != 0 {
		t.Fatalf("batch %d, all %d", l.batch(), all.Load())
	}
	l.leave(60) // late
	if n, _ := l.room(); n != 100 || all.Load() != 0 || l.batch() == 1 {
		t.Fatalf("late leavers count twice: room %d, all %d", n, all.Load())
	}
}

func TestOneDeviceCannotTakeTheSharedRoom(t *testing.T) {
	var all atomic.Int64
	a := newLimiter(100, time.Hour, false, &all, 80)
	b := newLimiter(100, time.Hour, false, &all, 80)
	a.start, b.start = time.Now(), time.Now()
	a.enter(90)
	if n, _ := a.room(); n != 0 {
		t.Fatalf("room %d", n)
	}
	if n, _ := b.room(); n == 0 {
		t.Fatal("the other one has no room")
	}
	a.forget()
	if all.Load() != 0 {
		t.Fatalf("%d forgotten", all.Load())
	}
}

func TestLogLinesHoldNoKeys(t *testing.T) {
	key := strings.Repeat("0123456789abcdef", 4)
	for _, k := range []string{key, "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="} {
		if got := redact("failed to parse line \"" + k + "\""); strings.Contains(got, k[:10]) || !strings.Contains(got, "failed to parse") {
			t.Errorf("%s", got)
		}
	}
}

func TestControlRefusesNonsense(t *testing.T) {
	r := newRouter(t, testRing)
	for _, c := range []struct {
		want  unix.Errno
		lines []string
	}{
		{unix.EPROTO, []string{"get=1"}},
		{unix.EPROTO, []string{"device=1", "fly=2"}},
		{unix.EPROTO, []string{"device=1", "get=1", "=x"}},
		{unix.EINVAL, []string{"device=896", "create=1"}},
		{unix.EINVAL, []string{"device=-1", "create=1"}},
		{unix.EINVAL, []string{"device=1", "create=1", "mtu=10"}},
		{unix.EINVAL, []string{"device=1", "create=1", "colour=red"}},
		{unix.ENODEV, []string{"device=1", "get=1"}},
	} {
		if got, _ := r.do(c.lines...); got != -int(c.want) {
			t.Errorf("%v: %d, want %d", c.lines, got, -int(c.want))
		}
	}
	if e, _ := r.do("device=1", "create=1", "name=x"); e != 0 {
		t.Fatal(e)
	}
	if e, _ := r.do("device=1", "create=1"); e != -int(unix.EEXIST) {
		t.Error(e)
	}
	if e, _ := r.do("device=1", "set=1", "nonsense=1"); e != -int(unix.EINVAL) {
		t.Error(e)
	}
	if e, _ := r.do("device=1", "remove=1"); e != 0 {
		t.Error(e)
	}
}

// keyPair makes a private key and its public key in hex.
func keyPair(seed byte) (private, public string) {
	var k device.NoisePrivateKey
	for i := range k {
		k[i] = seed
	}
	k[0] &= 248
	k[31] = k[31]&127 | 64
	return hex.EncodeToString(k[:]), hex.EncodeToString(curve(k))
}

// tunnel joins two children over loopback, device 7 on both; only a knows where b is.
func tunnel(t testing.TB) (a, b *router) {
	a, b = newRouter(t, ringBytes), newRouter(t, ringBytes)
	privA, pubA := keyPair(1)
	privB, pubB := keyPair(2)
	for _, r := range []*router{a, b} {
		if e, _ := r.do("device=7", "create=1", "name=wg7", "mtu=1420", "bind_address=127.0.0.1"); e != 0 {
			t.Fatal(e)
		}
	}
	set := func(r *router, lines ...string) {
		if e, _ := r.do(append([]string{"device=7", "set=1"}, lines...)...); e != 0 {
			t.Fatal(e)
		}
	}
	set(b, "private_key="+privB, "listen_port=0", "public_key="+pubA, "allowed_ip=0.0.0.0/0")
	_, out := b.do("device=7", "get=1")
	_, port, _ := strings.Cut(out, "listen_port=")
	port, _, _ = strings.Cut(port, "\n")
	set(a, "private_key="+privA, "listen_port=0", "public_key="+pubB, "endpoint=127.0.0.1:"+port, "allowed_ip=0.0.0.0/0")
	return a, b
}

func TestTwoChildrenExchangePackets(t *testing.T) {
	a, b := tunnel(t)
	rnd := rand.New(rand.NewPCG(1, 9))
	first := packetSpec{udp: true, ttl: 9, payload: payload(rnd, 20)}.build()
	a.send(record{device: 7}, first)
	var got [][]byte
	drain := func() {
		recs, data := b.receive()
		for i := range recs {
			if recs[i].flags&flagGso != 0 {
				got = append(got, cutAll(t, recs[i], data[i])...)
			} else {
				got = append(got, data[i])
			}
		}
	}
	waitFor(t, "the first packet", func() bool { drain(); return len(got) == 1 })
	if !bytes.Equal(got[0], first) {
		t.Fatal("the first packet differs")
	}
	got = nil
	const rounds, segments = 40, 40
	var want [][]byte
	for i := range rounds {
		s := packetSpec{ttl: 64, flags: tcpACK, df: true, seq: uint32(i * segments * 1300), payload: payload(rnd, segments*1300)}
		p := s.build()
		rec := record{device: 7, flags: flagGso, gsoType: gsoTCPv4, hdrLen: 40, gsoSize: 1300, csumStart: 20, csumOffset: 16}
		waitFor(t, "room", func() bool { drain(); return len(want)-len(got) < 400 && a.send(rec, p) })
		rec.length = len(p)
		want = append(want, cutAll(t, rec, p)...)
	}
	waitFor(t, fmt.Sprintf("%d packets", len(want)), func() bool { drain(); return len(got) >= len(want) })
	for i := range want {
		if !bytes.Equal(normalize(want[i]), normalize(got[i])) {
			t.Fatalf("packet %d differs", i)
		}
	}
	for _, r := range []*router{a, b} {
		if e, _ := r.do("device=7", "remove=1"); e != 0 {
			t.Fatal(e)
		}
		if n := r.server.sums.tx.Load() + r.server.sums.rx.Load(); n != 0 {
			t.Errorf("%d packets are still counted", n)
		}
	}
}

func curve(k device.NoisePrivateKey) []byte {
	key, err := ecdh.X25519().NewPrivateKey(k[:])
	if err != nil {
		panic(err)
	}
	return key.PublicKey().Bytes()
}

func BenchmarkTunnel(b *testing.B) {
	x, y := tunnel(b)
	const segments, size = 40, 1380
	p := packetSpec{ttl: 64, flags: tcpACK, df: true, payload: make([]byte, segments*size)}.build()
	rec := record{device: 7, flags: flagGso, gsoType: gsoTCPv4, hdrLen: 40, gsoSize: size, csumStart: 20, csumOffset: 16}
	x.send(record{device: 7}, packetSpec{udp: true, ttl: 9}.build())
	waitFor(b, "a session", func() bool { recs, _ := y.receive(); return len(recs) > 0 })
	b.SetBytes(segments * size)
	sent, got, last, moved := 0, 0, 0, time.Now()
	for b.Loop() {
		for sent-got > 1000 || !x.send(rec, p) {
			tail, head := y.rxTail, y.region.word(offRxHead).Load()
			for tail != head {
				h := y.region.rxData()[tail&(ringBytes-1):]
				if le32(h) == wrapLen {
					tail += ringBytes - tail&(ringBytes-1)
					continue
				}
				r := readRecord(h)
				if got++; r.flags&flagGso != 0 {
					got += (r.length-r.hdrLen+r.gsoSize-1)/r.gsoSize - 1
				}
				tail += recordSize(r.length)
			}
			y.rxTail = tail
			y.region.word(offRxTail).Store(tail)
			if got != last {
				last, moved = got, time.Now()
			} else if time.Since(moved) > 20*time.Millisecond {
				sent = got // lost
			}
			time.Sleep(20 * time.Microsecond)
		}
		sent += segments
	}
	for _, r := range []*router{x, y} {
		r.do("device=7", "remove=1")
	}
}
