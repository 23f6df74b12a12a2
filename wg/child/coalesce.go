package main

// Joins neighbours of one flow within a batch of received packets to super-segments, after verifying their checksums:
// the inverse of split.go. The rules are those of Linux's GRO, so that cutting a joined record gives back the packets
// that came in (the IPv4 identification of packets with DF excepted: RFC 6864 §4.1 gives it no meaning there).
// Does not reorder a flow, and does not hold packets back for a later batch.

const (
	maxBatch     = 128
	maxOpenFlows = 16
	// Linux's limit for a cut UDP super-datagram (UDP_MAX_SEGMENTS); TCP is bounded by the length alone.
	maxUDPSegments = 64
)

// group is one record to be: a single packet, or a chain of packets that continue each other.
type group struct {
	first, last int // indices into coalescer.packets
	count       int
	length      int // octets of the record
	flags       uint8
	gsoType     uint8
	hdrLen      int
	l4          int
	gsoSize     int
	nextSeq     uint32
	open        bool
}

// coalescer is the scratch space of one batch.
type coalescer struct {
	packets   [maxBatch][]byte
	following [maxBatch]int
	groups    [maxBatch]group
	n         int // groups
	used      int // packets
	open      [maxOpenFlows]int
	nOpen     int
}

func (c *coalescer) reset() {
	for i := 0; i < c.used; i++ {
		c.packets[i] = nil
	}
	c.n, c.used, c.nOpen = 0, 0, 0
}

// add takes the next packet of the batch (at most maxBatch); the slice must stay valid until the groups are written.
func (c *coalescer) add(p []byte) {
	i := c.used
	c.used++
	c.packets[i] = p
	c.following[i] = -1
	g := &c.groups[c.n]
	*g = group{first: i, last: i, count: 1, length: len(p)}
	if !g.classify(p) {
		c.n++
		return
	}
	for k := c.nOpen - 1; k >= 0; k-- {
		o := &c.groups[c.open[k]]
		if !sameFlow(c.packets[o.first], p, o, g) {
			continue
		}
		if o.accepts(c.packets[o.first], p, g) {
			c.following[o.last] = i
			o.append(p, i, g)
			if !o.open {
				c.close(k)
			}
			return
		}
		c.close(k) // order within the flow: nothing may join a record in front of this packet
		break
	}
	c.n++
	if !g.open {
		return
	}
	if c.nOpen == maxOpenFlows {
		c.close(0)
	}
	c.open[c.nOpen] = c.n - 1
	c.nOpen++
}

func (c *coalescer) close(k int) {
	copy(c.open[k:], c.open[k+1:c.nOpen])
	c.nOpen--
}

// classify fills the group of one packet; false means that it is neither TCP nor UDP, or not looked into (fragments,
// broken IPv4 headers, IPv6 extension headers): it then belongs to no flow.
func (g *group) classify(p []byte) bool {
	ihl := headerLen(p)
	if ihl == 0 {
		return false
	}
	var proto byte
	v6 := p[0]>>4 == 6
	if v6 {
		proto = p[6]
	} else {
		if be16(p[6:])&^(ipv4DF|0x8000) != 0 || fold(sum(p[:ihl], 0)) != 0xffff {
			return false
		}
		proto = p[9]
	}
	l4 := p[ihl:]
	g.l4 = ihl
	switch proto {
	case protoTCP:
		if len(l4) < 20 {
			return false
		}
		doff := int(l4[12]>>4) * 4
		if doff < 20 || doff > len(l4) {
			return false
		}
		g.hdrLen = ihl + doff
		g.gsoType = gsoTCPv4
		if v6 {
			g.gsoType = gsoTCPv6
		}
		if fold(sum(l4, addLength(pseudo(p, protoTCP), len(l4)))) != 0xffff {
			return true
		}
		g.flags = flagCsumValid
		payload := len(l4) - doff
		g.gsoSize = payload
		g.nextSeq = be32(l4[4:]) + uint32(payload)
		// Linux's GRO ends a record at FIN and PSH, and leaves SYN, RST and URG alone.
		g.open = payload > 0 && l4[13]&^tcpCWR&^0x40 == tcpACK && (v6 || ihl == 20)
	case protoUDP:
		if len(l4) < 8 || be16(l4[4:]) != len(l4) {
			return false
		}
		g.hdrLen = ihl + 8
		g.gsoType = gsoUDPL4
		if be16(l4[6:]) == 0 {
			if !v6 { // RFC 768: no checksum was made
				g.flags = flagCsumValid
			}
			return true
		}
		if fold(sum(l4, addLength(pseudo(p, protoUDP), len(l4)))) != 0xffff {
			return true
		}
		g.flags = flagCsumValid
		g.gsoSize = len(l4) - 8
		g.open = g.gsoSize > 0 && (v6 || ihl == 20)
	default:
		return false
	}
	return true
}

// sameFlow compares the 5-tuples of a group's first packet and a packet.
func sameFlow(a, b []byte, ga, gb *group) bool {
	if ga.gsoType != gb.gsoType || (a[0]^b[0])&0xf0 != 0 || ga.l4 != gb.l4 {
		return false
	}
	from := 12
	if a[0]>>4 == 6 {
		from = 8
	}
	return string(a[from:ga.l4]) == string(b[from:gb.l4]) && string(a[ga.l4:ga.l4+4]) == string(b[gb.l4:gb.l4+4])
}

// accepts says whether packet p (classified as n) continues the open group g, whose first packet is a.
func (g *group) accepts(a, p []byte, n *group) bool {
	if n.flags&flagCsumValid == 0 || n.gsoSize == 0 || n.gsoSize > g.gsoSize || n.hdrLen != g.hdrLen ||
		g.length+n.gsoSize > maxPacket {
		return false
	}
	if a[0]>>4 == 4 {
		if a[0] != p[0] || a[1] != p[1] || a[8] != p[8] || a[6] != p[6] {
			return false
		}
		if a[6]&0x40 == 0 && (be16(a[4:])+g.count)&0xffff != be16(p[4:]) {
			return false
		}
	} else if string(a[:4]) != string(p[:4]) || a[7] != p[7] {
		return false
	}
	if g.gsoType == gsoUDPL4 {
		return be16(p[g.l4+6:]) != 0 && g.count < maxUDPSegments
	}
	ta, tp := a[g.l4:g.hdrLen], p[g.l4:g.hdrLen]
	if be32(tp[4:]) != g.nextSeq || string(ta[8:12]) != string(tp[8:12]) || ta[12] != tp[12] ||
		string(ta[14:16]) != string(tp[14:16]) || string(ta[18:]) != string(tp[18:]) {
		return false
	}
	// Only the first may carry CWR, only the last FIN and PSH; all other bits are equal.
	return tp[13]&tcpCWR == 0 && (ta[13]^tp[13])&^(tcpCWR|tcpFIN|tcpPSH) == 0
}

func (g *group) append(p []byte, i int, n *group) {
	g.last = i
	g.count++
	g.length += n.gsoSize
	g.nextSeq = n.nextSeq
	g.open = n.open && n.gsoSize == g.gsoSize
}

// record describes the group's ring record.
func (g *group) record(device int) record {
	r := record{length: g.length, flags: g.flags, device: device}
	if g.flags&flagCsumValid != 0 {
		r.csumStart = g.l4
		r.csumOffset = 16
		if g.gsoType == gsoUDPL4 {
			r.csumOffset = 6
		}
	}
	if g.count > 1 {
		r.flags |= flagGso
		r.gsoType = g.gsoType
		r.hdrLen = g.hdrLen
		r.gsoSize = g.gsoSize
	}
	return r
}

// write puts the group's octets to dst, which has g.length octets: one copy from the packets.
func (c *coalescer) write(g *group, dst []byte) {
	n := copy(dst, c.packets[g.first])
	if g.count == 1 {
		return
	}
	last := c.packets[g.last]
	for i := c.following[g.first]; i >= 0; i = c.following[i] {
		n += copy(dst[n:], c.packets[i][g.hdrLen:])
	}
	putIPLength(dst, g.l4, g.length)
	l4 := dst[g.l4:]
	if g.gsoType == gsoUDPL4 {
		putBE16(l4[4:], len(l4))
	} else {
		l4[13] |= last[g.l4+13] & (tcpFIN | tcpPSH)
	}
}
