package main

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"testing"
)

// packetSpec builds a packet with right lengths and checksums.
type packetSpec struct {
	v6      bool
	udp     bool
	id      int
	df      bool
	ttl     byte
	tos     byte
	ports   uint32
	seq     uint32
	ack     uint32
	flags   byte
	window  int
	options []byte
	payload []byte
}

func (s packetSpec) build() []byte {
	ihl := 20
	if s.v6 {
		ihl = 40
	}
	l4 := 8
	if !s.udp {
		l4 = 20 + len(s.options)
	}
	p := make([]byte, ihl+l4+len(s.payload))
	proto := byte(protoTCP)
	if s.udp {
		proto = protoUDP
	}
	if s.v6 {
		p[0], p[1] = 0x60|s.tos>>4, s.tos<<4
		p[6], p[7] = proto, s.ttl
		p[8], p[23], p[24], p[39] = 0xfd, 1, 0xfd, 2
	} else {
		p[0], p[1], p[8], p[9] = 0x45, s.tos, s.ttl, proto
		putBE16(p[4:], s.id)
		if s.df {
			p[6] = 0x40
		}
		copy(p[12:], []byte{10, 0, 0, 1, 10, 0, 0, 2})
	}
	putIPLength(p, ihl, len(p))
	t := p[ihl:]
	binary.BigEndian.PutUint32(t, s.ports)
	at := 6
	if s.udp {
		putBE16(t[4:], len(t))
	} else {
		at = 16
		binary.BigEndian.PutUint32(t[4:], s.seq)
		binary.BigEndian.PutUint32(t[8:], s.ack)
		t[12], t[13] = byte(l4/4)<<4, s.flags
		putBE16(t[14:], s.window)
		copy(t[20:], s.options)
	}
	copy(t[l4:], s.payload)
	putTransportChecksum(p, ihl, at)
	return p
}

func payload(r *rand.Rand, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

// coalesce runs a batch through the coalescer and returns its records.
func coalesce(packets [][]byte) (recs []record, data [][]byte) {
	c := new(coalescer)
	for _, p := range packets {
		c.add(p)
	}
	for i := 0; i < c.n; i++ {
		b := make([]byte, c.groups[i].length)
		c.write(&c.groups[i], b)
		recs = append(recs, c.groups[i].record(0))
		data = append(data, b)
	}
	return recs, data
}

func cutAll(t testing.TB, rec record, data []byte) (out [][]byte) {
	var s splitter
	if !s.begin(rec, data) {
		return nil
	}
	for s.active {
		buf := make([]byte, maxPacket)
		want := s.segments()
		n := s.next(buf)
		if n <= 0 || n > maxCutPacket || want-1 != s.segments() {
			t.Fatalf("segment of %d octets, %d segments left, then %d", n, want, s.segments())
		}
		out = append(out, buf[:n])
	}
	return out
}

// sameFlowKey orders packets by flow: coalescing keeps order within a flow, not between flows.
func flowKey(p []byte) string {
	if headerLen(p) == 0 || len(p) < headerLen(p)+4 {
		return ""
	}
	ihl := headerLen(p)
	if p[0]>>4 == 4 {
		return string(p[9:10]) + string(p[12:ihl+4])
	}
	return string(p[6:7]) + string(p[8:44])
}

func normalize(p []byte) []byte {
	q := bytes.Clone(p)
	// RFC 6864 §4.1: the identification of an atomic datagram has no meaning.
	if len(q) >= 20 && q[0]>>4 == 4 && q[6]&0x40 != 0 {
		q[4], q[5] = 0, 0
		q[10], q[11] = 0, 0
	}
	return q
}

// checkRoundTrip cuts what coalescing made and compares with the input flow by flow.
func checkRoundTrip(t testing.TB, packets [][]byte) (records int) {
	recs, data := coalesce(packets)
	want, got := map[string][][]byte{}, map[string][][]byte{}
	for _, p := range packets {
		want[flowKey(p)] = append(want[flowKey(p)], normalize(p))
	}
	for i, rec := range recs {
		out := [][]byte{data[i]}
		if rec.flags&flagGso != 0 {
			if rec.flags&flagCsumValid == 0 {
				t.Fatalf("a super-segment of unverified packets")
			}
			if out = cutAll(t, rec, data[i]); out == nil {
				t.Fatalf("record %+v cannot be cut", rec)
			}
		}
		for _, p := range out {
			got[flowKey(p)] = append(got[flowKey(p)], normalize(p))
		}
	}
	if len(want) != len(got) {
		t.Fatalf("%d flows became %d", len(want), len(got))
	}
	for k, w := range want {
		g := got[k]
		if len(w) != len(g) {
			t.Fatalf("%d packets became %d", len(w), len(g))
		}
		for i := range w {
			if !bytes.Equal(w[i], g[i]) {
				t.Fatalf("packet %d differs\n in %x\nout %x", i, w[i][:min(80, len(w[i]))], g[i][:min(80, len(g[i]))])
			}
		}
	}
	return len(recs)
}

func TestChecksumOfKnownPacket(t *testing.T) {
	h := []byte{0x45, 0, 0, 0x73, 0, 0, 0x40, 0, 0x40, 0x11, 0, 0, 0xc0, 0xa8, 0, 1, 0xc0, 0xa8, 0, 0xc7}
	if got := ^fold(sum(h, 0)); got != 0xb861 {
		t.Fatalf("checksum %#x", got)
	}
}

func TestSumAgreesWithTheTextbook(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for n := range 400 {
		b := payload(r, n)
		var slow uint32
		for i, c := range b {
			if i&1 == 0 {
				slow += uint32(c) << 8
			} else {
				slow += uint32(c)
			}
		}
		for slow > 0xffff {
			slow = slow>>16 + slow&0xffff
		}
		if got := fold(sum(b, 0)); got != uint16(slow) {
			t.Fatalf("%d octets: %#x, textbook %#x", n, got, slow)
		}
	}
}

func tcpRun(r *rand.Rand, base packetSpec, n, size int) (out [][]byte) {
	for i := range n {
		s := base
		s.payload = payload(r, size)
		s.id = base.id + i
		s.seq = base.seq + uint32(i*size)
		out = append(out, s.build())
	}
	return out
}

func TestSegmentsOfOneFlowBecomeOneRecord(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for _, v6 := range []bool{false, true} {
		base := packetSpec{v6: v6, ttl: 64, ports: 0x12345678, seq: 0xfffffff0, ack: 7, flags: tcpACK, window: 500, id: 0xfffe,
			options: []byte{1, 1, 8, 10, 1, 2, 3, 4, 5, 6, 7, 8}}
		if n := checkRoundTrip(t, tcpRun(r, base, 40, 1380)); n != 1 {
			t.Fatalf("%d records", n)
		}
	}
}

func TestDatagramsOfOneFlowBecomeOneRecord(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	for _, v6 := range []bool{false, true} {
		var batch [][]byte
		for i, size := range []int{1200, 1200, 1200, 300} {
			batch = append(batch, packetSpec{v6: v6, udp: true, ttl: 64, ports: 9, id: i, payload: payload(r, size)}.build())
		}
		batch = append(batch, packetSpec{v6: v6, udp: true, ttl: 64, ports: 9, id: 4, payload: payload(r, 300)}.build())
		if n := checkRoundTrip(t, batch); n != 2 {
			t.Fatalf("%d records: nothing may follow a short datagram", n)
		}
	}
}

func TestWhatEndsARecord(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	base := packetSpec{ttl: 64, ports: 1, seq: 100, ack: 7, flags: tcpACK, window: 500, id: 1}
	cases := map[string]func(s *packetSpec){
		"ack":     func(s *packetSpec) { s.ack++ },
		"window":  func(s *packetSpec) { s.window++ },
		"ttl":     func(s *packetSpec) { s.ttl-- },
		"tos":     func(s *packetSpec) { s.tos = 4 },
		"df":      func(s *packetSpec) { s.df = true },
		"id":      func(s *packetSpec) { s.id += 5 },
		"seq":     func(s *packetSpec) { s.seq += 5 },
		"options": func(s *packetSpec) { s.options = []byte{1, 1, 1, 1} },
		"cwr":     func(s *packetSpec) { s.flags |= tcpCWR },
		"ece":     func(s *packetSpec) { s.flags |= 0x40 },
		"urg":     func(s *packetSpec) { s.flags |= tcpURG },
		"rst":     func(s *packetSpec) { s.flags |= tcpRST },
		"longer":  func(s *packetSpec) { s.payload = append(s.payload, 1) },
	}
	for name, change := range cases {
		a := base
		a.payload = payload(r, 100)
		b := a
		b.seq, b.id = a.seq+100, a.id+1
		b.payload = payload(r, 100)
		if n := checkRoundTrip(t, [][]byte{a.build(), b.build()}); n != 1 {
			t.Fatalf("unchanged: %d records", n)
		}
		change(&b)
		if n := checkRoundTrip(t, [][]byte{a.build(), b.build()}); n != 2 {
			t.Errorf("%s: %d records", name, n)
		}
	}
}

func TestPushAndFinOnlyAtTheEnd(t *testing.T) {
	r := rand.New(rand.NewPCG(9, 10))
	base := packetSpec{ttl: 64, ports: 1, seq: 100, ack: 7, flags: tcpACK, window: 500, id: 1}
	batch := tcpRun(r, base, 6, 200)
	batch[2][33] |= tcpPSH
	putTransportChecksum(batch[2], 20, 16)
	batch[5][33] |= tcpFIN | tcpPSH
	putTransportChecksum(batch[5], 20, 16)
	batch[0][33] |= tcpCWR
	putTransportChecksum(batch[0], 20, 16)
	if n := checkRoundTrip(t, batch); n != 2 {
		t.Fatalf("%d records", n)
	}
}

func TestABadChecksumIsDeliveredUnmarked(t *testing.T) {
	r := rand.New(rand.NewPCG(11, 12))
	batch := tcpRun(r, packetSpec{ttl: 64, flags: tcpACK}, 3, 100)
	batch[1][60] ^= 1
	recs, data := coalesce(batch)
	if len(recs) != 3 || recs[1].flags != 0 || recs[0].flags != flagCsumValid || !bytes.Equal(data[1], batch[1]) {
		t.Fatalf("%+v", recs)
	}
}

func TestMixedFlowsRoundTrip(t *testing.T) {
	r := rand.New(rand.NewPCG(13, 14))
	for range 300 {
		checkRoundTrip(t, randomBatch(r))
	}
}

func randomBatch(r *rand.Rand) (batch [][]byte) {
	flows := make([]packetSpec, 1+r.IntN(24))
	for i := range flows {
		flows[i] = packetSpec{v6: r.IntN(2) == 0, udp: r.IntN(3) == 0, df: r.IntN(2) == 0, ttl: 64, ports: uint32(i), seq: r.Uint32(),
			id: r.IntN(65536), flags: tcpACK, window: 100, options: make([]byte, 4*r.IntN(4))}
	}
	sizes := []int{0, 1, 100, 101, 536, 1380}
	for range r.IntN(maxBatch) {
		f := &flows[r.IntN(len(flows))]
		s := *f
		n := sizes[r.IntN(len(sizes))]
		if r.IntN(4) > 0 {
			n = 1380
		}
		s.payload = payload(r, n)
		if r.IntN(16) == 0 {
			s.flags = byte(r.Uint32())
		}
		f.seq += uint32(n)
		f.id = (f.id + 1) & 0xffff
		if r.IntN(16) == 0 {
			f.ack++
		}
		batch = append(batch, s.build())
	}
	return batch
}

func TestMalformedRecordsAreRefused(t *testing.T) {
	p := packetSpec{ttl: 64, flags: tcpACK, payload: make([]byte, 3000)}.build()
	good := record{length: len(p), flags: flagGso | flagNeedsCsum, gsoType: gsoTCPv4, hdrLen: 40, gsoSize: 1000, csumStart: 20, csumOffset: 16}
	if len(cutAll(t, good, p)) != 3 {
		t.Fatal("the good record is refused")
	}
	bad := map[string]func(r *record){
		"no size":           func(r *record) { r.gsoSize = 0 },
		"header too long":   func(r *record) { r.hdrLen = 60000 },
		"header not tcp's":  func(r *record) { r.hdrLen = 44 },
		"only a header":     func(r *record) { r.hdrLen = len(p) },
		"other family":      func(r *record) { r.gsoType = gsoTCPv6 },
		"other protocol":    func(r *record) { r.gsoType = gsoUDPL4 },
		"unknown type":      func(r *record) { r.gsoType = 9 },
		"transport in ip":   func(r *record) { r.csumStart = 10 },
		"transport outside": func(r *record) { r.csumStart = 65535 },
		"length":            func(r *record) { r.length-- },
	}
	for name, change := range bad {
		r := good
		change(&r)
		if out := cutAll(t, r, p); out != nil {
			t.Errorf("%s: cut into %d", name, len(out))
		}
	}
	small := packetSpec{ttl: 64, flags: tcpACK}.build()
	if cutAll(t, record{length: len(small), flags: flagNeedsCsum, csumStart: 20, csumOffset: 30}, small) != nil {
		t.Error("checksum outside of the packet")
	}
	if cutAll(t, record{length: 4}, []byte{0x45, 0, 0, 4}) != nil || cutAll(t, record{length: 0}, nil) != nil {
		t.Error("a packet too short for a header")
	}
}

func TestSplitComputesChecksumOfSinglePackets(t *testing.T) {
	r := rand.New(rand.NewPCG(15, 16))
	for _, v6 := range []bool{false, true} {
		want := packetSpec{v6: v6, ttl: 64, flags: tcpACK, payload: payload(r, 77)}.build()
		start := 20
		if v6 {
			start = 40
		}
		p := bytes.Clone(want)
		p[start+16], p[start+17] = 0xaa, 0xbb
		out := cutAll(t, record{length: len(p), flags: flagNeedsCsum, csumStart: start, csumOffset: 16}, p)
		if len(out) != 1 || !bytes.Equal(out[0], want) {
			t.Fatalf("v6=%v", v6)
		}
	}
}

func FuzzSplit(f *testing.F) {
	p := packetSpec{ttl: 64, flags: tcpACK | tcpFIN, payload: make([]byte, 300)}.build()
	f.Add(p, uint8(flagGso), uint8(gsoTCPv4), uint16(40), uint16(100), uint16(20), uint16(16))
	u := packetSpec{v6: true, udp: true, ttl: 64, payload: make([]byte, 300)}.build()
	f.Add(u, uint8(flagGso), uint8(gsoUDPL4), uint16(48), uint16(100), uint16(40), uint16(6))
	f.Add(u, uint8(flagNeedsCsum), uint8(0), uint16(0), uint16(0), uint16(40), uint16(6))
	f.Fuzz(func(t *testing.T, data []byte, flags, gso uint8, hdr, size, start, offset uint16) {
		rec := record{length: len(data), flags: flags, gsoType: gso, hdrLen: int(hdr), gsoSize: int(size), csumStart: int(start), csumOffset: int(offset)}
		total := 0
		for _, p := range cutAll(t, rec, data) {
			if headerLen(p) == 0 {
				t.Fatalf("a packet with wrong lengths: %x", p[:min(60, len(p))])
			}
			total += len(p) - int(hdr)
		}
		if flags&flagGso != 0 && total != 0 && total != len(data)-int(hdr) {
			t.Fatalf("%d octets of payload became %d", len(data)-int(hdr), total)
		}
	})
}

func FuzzCoalesce(f *testing.F) {
	r := rand.New(rand.NewPCG(17, 18))
	for _, udp := range []bool{false, true} {
		for _, v6 := range []bool{false, true} {
			var seed []byte
			for i := range 4 {
				p := packetSpec{v6: v6, udp: udp, ttl: 64, id: i, seq: uint32(i * 9), flags: tcpACK, payload: payload(r, 9)}.build()
				seed = append(seed, byte(len(p)>>8), byte(len(p)))
				seed = append(seed, p...)
			}
			f.Add(seed, true)
		}
	}
	f.Fuzz(func(t *testing.T, data []byte, fix bool) {
		var batch [][]byte
		for len(data) > 2 && len(batch) < maxBatch {
			n := min(be16(data), len(data)-2)
			p := bytes.Clone(data[2 : 2+n])
			data = data[2+n:]
			if len(p) == 0 {
				continue
			}
			// With wrong checksums nothing is joined: repair them in half of the runs.
			if ihl := headerLen(p); fix && ihl > 0 && len(p) >= ihl+20 {
				proto := p[9]
				if p[0]>>4 == 6 {
					proto = p[6]
				}
				if proto == protoTCP {
					putTransportChecksum(p, ihl, 16)
				} else if proto == protoUDP {
					putTransportChecksum(p, ihl, 6)
				}
				if p[0]>>4 == 4 {
					putIPLength(p, ihl, len(p))
				}
			}
			batch = append(batch, p)
		}
		checkRoundTrip(t, batch)
	})
}

func BenchmarkCoalesce(b *testing.B) {
	batch := tcpRun(rand.New(rand.NewPCG(1, 1)), packetSpec{ttl: 64, flags: tcpACK}, maxBatch, 1380)
	c := new(coalescer)
	dst := make([]byte, maxPacket)
	b.SetBytes(maxBatch * 1420)
	for b.Loop() {
		for _, p := range batch {
			c.add(p)
		}
		for i := 0; i < c.n; i++ {
			c.write(&c.groups[i], dst[:c.groups[i].length])
		}
		c.reset()
	}
}

func BenchmarkSplit(b *testing.B) {
	p := packetSpec{ttl: 64, flags: tcpACK, payload: make([]byte, 44*1380)}.build()
	rec := record{length: len(p), flags: flagGso, gsoType: gsoTCPv4, hdrLen: 40, gsoSize: 1380, csumStart: 20, csumOffset: 16}
	var s splitter
	dst := make([]byte, maxPacket)
	b.SetBytes(int64(len(p)))
	for b.Loop() {
		s.begin(rec, p)
		for s.active {
			s.next(dst)
		}
	}
}
