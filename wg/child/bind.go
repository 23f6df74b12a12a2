package main

// The UDP side of a WireGuard device: one socket per family on one port, sending runs of equal datagrams as one message
// (UDP_SEGMENT, gathered from WireGuard's buffers without a copy) and receiving runs as one (UDP_GRO). Sockets can be
// tied to a source address or an interface. Counts what was sent and what failed, and reports failures as events.
// Replies leave from the address their question came to (IP_PKTINFO), until the kernel refuses it.

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
	"golang.org/x/sys/unix"
	"golang.zx2c4.com/wireguard/conn"
	"golang.zx2c4.com/wireguard/device"
)

const (
	socketBuffer      = 7 << 20
	maxGsoSegments    = 64
	maxGsoBytes       = 65507
	receiveMessages   = 4
	receiveBytes      = 65536
	openTries         = 100
	sendErrorInterval = time.Second
	heardInterval     = 100 * time.Millisecond
)

// endpoint is where a peer is; immutable but for the source address, which the device may clear.
type endpoint struct {
	dst netip.AddrPort
	udp *net.UDPAddr
	src netip.Addr
	oob atomic.Pointer[[]byte] // IP_PKTINFO control message, or nil
}

func newEndpoint(dst netip.AddrPort, oob []byte, src netip.Addr) *endpoint {
	e := &endpoint{dst: dst, udp: net.UDPAddrFromAddrPort(dst), src: src}
	if len(oob) > 0 {
		e.oob.Store(&oob)
	}
	return e
}

func (e *endpoint) ClearSrc()           { e.oob.Store(nil) }
func (e *endpoint) DstToString() string { return e.dst.String() }
func (e *endpoint) DstIP() netip.Addr   { return e.dst.Addr() }
func (e *endpoint) SrcToString() string { return e.SrcIP().String() }
func (e *endpoint) DstToBytes() []byte {
	b, _ := e.dst.MarshalBinary()
	return b
}

func (e *endpoint) SrcIP() netip.Addr {
	if e.oob.Load() == nil {
		return netip.Addr{}
	}
	return e.src
}

type batchConn interface {
	ReadBatch([]ipv6.Message, int) (int, error)
	WriteBatch([]ipv6.Message, int) (int, error)
}

// udpSocket is one bound socket.
type udpSocket struct {
	conn *net.UDPConn
	pc   batchConn
	is6  bool
	gso  atomic.Bool
}

// bindOptions tie a device's sockets to a place on the host.
type bindOptions struct {
	addr4, addr6 netip.Addr
	device       string
}

type udpBind struct {
	tun   *tunDevice
	event func(kind string, lines ...string)

	mu     sync.RWMutex
	opts   bindOptions
	v4, v6 *udpSocket
	mark   uint32

	messages sync.Pool

	sent, failed atomic.Uint64
	rcvbuf       atomic.Int64
	lastError    atomic.Int64 // unix nanoseconds of the last event
	markRefused  atomic.Bool
}

func newBind(t *tunDevice, opts bindOptions, event func(kind string, lines ...string)) *udpBind {
	b := &udpBind{tun: t, event: event, opts: opts}
	b.messages.New = func() any {
		m := make([]ipv6.Message, maxBatch)
		for i := range m {
			m[i].OOB = make([]byte, 0, sendOOB)
		}
		return &m
	}
	return b
}

var (
	_ conn.Bind     = (*udpBind)(nil)
	_ conn.Endpoint = (*endpoint)(nil)

	sendOOB    = unix.CmsgSpace(unix.SizeofInet6Pktinfo) + unix.CmsgSpace(2)
	receiveOOB = unix.CmsgSpace(unix.SizeofInet6Pktinfo) + unix.CmsgSpace(4)
)

func (b *udpBind) BatchSize() int { return maxBatch }

func (b *udpBind) ParseEndpoint(s string) (conn.Endpoint, error) {
	a, err := netip.ParseAddrPort(s)
	if err != nil {
		return nil, err
	}
	return newEndpoint(netip.AddrPortFrom(a.Addr().Unmap(), a.Port()), nil, netip.Addr{}), nil
}

// Open binds both families to one port; a family that the host lacks, or that the options leave out, is absent.
func (b *udpBind) Open(port uint16) ([]conn.ReceiveFunc, uint16, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.v4 != nil || b.v6 != nil {
		return nil, 0, conn.ErrBindAlreadyOpen
	}
	tied := b.opts.addr4.IsValid() || b.opts.addr6.IsValid()
	want4 := !tied || b.opts.addr4.IsValid()
	want6 := !tied || b.opts.addr6.IsValid()
	var v4, v6 *udpSocket
	var err error
	for try := 0; ; try++ {
		p := port
		v4, v6 = nil, nil
		if want4 {
			if v4, err = b.listen(false, p); err == nil {
				p = uint16(v4.conn.LocalAddr().(*net.UDPAddr).Port)
			} else if !errors.Is(err, syscall.EAFNOSUPPORT) {
				return nil, 0, err
			}
		}
		if want6 {
			v6, err = b.listen(true, p)
			if err != nil && !familyMissing(err) {
				if v4 != nil {
					v4.conn.Close()
				}
				if port == 0 && errors.Is(err, syscall.EADDRINUSE) && try < openTries {
					continue
				}
				return nil, 0, err
			}
			if v6 != nil {
				p = uint16(v6.conn.LocalAddr().(*net.UDPAddr).Port)
			}
		}
		port = p
		break
	}
	b.v4, b.v6 = v4, v6
	var fns []conn.ReceiveFunc
	for _, s := range []*udpSocket{v4, v6} {
		if s != nil {
			fns = append(fns, b.receiver(s))
		}
	}
	if len(fns) == 0 {
		return nil, 0, syscall.EAFNOSUPPORT
	}
	return fns, port, nil
}

// familyMissing says that the host has no IPv6: none at all, or switched off.
func familyMissing(err error) bool {
	return errors.Is(err, syscall.EAFNOSUPPORT) || errors.Is(err, syscall.EADDRNOTAVAIL)
}

func (b *udpBind) listen(is6 bool, port uint16) (*udpSocket, error) {
	network, addr := "udp4", b.opts.addr4
	if is6 {
		network, addr = "udp6", b.opts.addr6
	}
	host := ""
	if addr.IsValid() {
		host = addr.String()
	}
	lc := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		var err error
		if e := c.Control(func(fd uintptr) { err = b.setOptions(int(fd), is6) }); e != nil {
			return e
		}
		return err
	}}
	pc, err := lc.ListenPacket(context.Background(), network, net.JoinHostPort(host, strconv.Itoa(int(port))))
	if err != nil {
		return nil, err
	}
	s := &udpSocket{conn: pc.(*net.UDPConn), is6: is6}
	if is6 {
		s.pc = ipv6.NewPacketConn(s.conn)
	} else {
		s.pc = ipv4.NewPacketConn(s.conn)
	}
	if rc, err := s.conn.SyscallConn(); err == nil {
		_ = rc.Control(func(fd uintptr) {
			_, e := unix.GetsockoptInt(int(fd), unix.IPPROTO_UDP, unix.UDP_SEGMENT)
			s.gso.Store(e == nil)
			if n, e := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF); e == nil {
				b.rcvbuf.Store(int64(n))
			}
		})
	}
	return s, nil
}

func (b *udpBind) setOptions(fd int, is6 bool) error {
	for _, o := range []int{unix.SO_RCVBUF, unix.SO_SNDBUF, unix.SO_RCVBUFFORCE, unix.SO_SNDBUFFORCE} {
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, o, socketBuffer) // as much as the host allows
	}
	if b.mark != 0 {
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_MARK, int(b.mark)); err != nil {
			b.refuseMark(err)
		}
	}
	if b.opts.device != "" {
		if err := unix.BindToDevice(fd, b.opts.device); err != nil {
			return err
		}
	}
	_ = unix.SetsockoptInt(fd, unix.IPPROTO_UDP, unix.UDP_GRO, 1)
	if !is6 {
		return unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_PKTINFO, 1)
	}
	if err := unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 1); err != nil {
		return err
	}
	return unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_RECVPKTINFO, 1)
}

func (b *udpBind) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	var err error
	for _, s := range []*udpSocket{b.v4, b.v6} {
		if s != nil {
			err = errors.Join(err, s.conn.Close())
		}
	}
	b.v4, b.v6 = nil, nil
	return err
}

// SetMark marks outgoing packets. Deviation: without CAP_NET_ADMIN it is reported once and ignored, where wireguard-go
// would refuse the whole configuration with EADDRINUSE.
func (b *udpBind) SetMark(mark uint32) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.mark = mark
	for _, s := range []*udpSocket{b.v4, b.v6} {
		if s == nil {
			continue
		}
		rc, err := s.conn.SyscallConn()
		if err != nil {
			return err
		}
		_ = rc.Control(func(fd uintptr) {
			if e := unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_MARK, int(mark)); e != nil {
				b.refuseMark(e)
			}
		})
	}
	return nil
}

func (b *udpBind) refuseMark(err error) {
	if !b.markRefused.Swap(true) {
		b.event("fwmark-refused", "errno="+strconv.Itoa(errnoOf(err)))
	}
}

// Send sends datagrams to one endpoint. Runs of equal length (the last may be shorter) leave as one message.
func (b *udpBind) Send(bufs [][]byte, ep conn.Endpoint) error {
	e, ok := ep.(*endpoint)
	if !ok {
		return conn.ErrWrongEndpointType
	}
	data := 0
	for _, p := range bufs {
		if isData(p) {
			data++
		}
	}
	b.mu.RLock()
	s := b.v4
	if e.dst.Addr().Is6() {
		s = b.v6
	}
	b.mu.RUnlock()
	var err error = syscall.EAFNOSUPPORT
	if s != nil {
		err = b.send(s, bufs, e)
	}
	if data > 0 {
		b.tun.tx.leave(data)
	}
	if err != nil {
		b.failed.Add(uint64(len(bufs)))
		b.reportSendError(e, err)
		return err
	}
	b.sent.Add(uint64(len(bufs)))
	return nil
}

func (b *udpBind) send(s *udpSocket, bufs [][]byte, e *endpoint) error {
	gso := s.gso.Load()
	err := b.sendMessages(s, bufs, e, gso)
	if err == nil {
		return nil
	}
	if e.oob.Load() != nil && !errors.Is(err, net.ErrClosed) {
		e.ClearSrc() // the address may have left the host: let the kernel choose again
		if err = b.sendMessages(s, bufs, e, gso); err == nil {
			return nil
		}
	}
	if gso && (errors.Is(err, syscall.EIO) || errors.Is(err, syscall.EINVAL) || errors.Is(err, syscall.EMSGSIZE)) {
		if errors.Is(err, syscall.EIO) {
			s.gso.Store(false) // the interface has no transmit checksum offload, which UDP_SEGMENT needs
		}
		err = b.sendMessages(s, bufs, e, false)
	}
	return err
}

func (b *udpBind) sendMessages(s *udpSocket, bufs [][]byte, e *endpoint, gso bool) error {
	pool := b.messages.Get().(*[]ipv6.Message)
	defer b.messages.Put(pool)
	all := *pool
	n := 0
	var src []byte
	if p := e.oob.Load(); p != nil {
		src = *p
	}
	for i := 0; i < len(bufs); {
		m := &all[n]
		n++
		size, total, end := len(bufs[i]), len(bufs[i]), i+1
		for gso && end < len(bufs) && end-i < maxGsoSegments && len(bufs[end]) <= size && total+len(bufs[end]) <= maxGsoBytes {
			total += len(bufs[end])
			end++
			if len(bufs[end-1]) < size {
				break
			}
		}
		m.Addr = e.udp
		m.Buffers = bufs[i:end:end]
		m.OOB = append(m.OOB[:0], src...)
		if end-i > 1 {
			m.OOB = appendSegmentSize(m.OOB, size)
		}
		i = end
	}
	var err error
	for start := 0; start < n; {
		var done int
		if done, err = s.pc.WriteBatch(all[start:n], 0); err != nil {
			break
		}
		start += done
	}
	for i := range n {
		all[i].Buffers, all[i].Addr = nil, nil
	}
	return err
}

func (b *udpBind) reportSendError(e *endpoint, err error) {
	if errors.Is(err, net.ErrClosed) {
		return
	}
	now := time.Now().UnixNano()
	last := b.lastError.Load()
	if now-last < int64(sendErrorInterval) || !b.lastError.CompareAndSwap(last, now) {
		return
	}
	b.event("send-error", "endpoint="+e.dst.String(), "errno="+strconv.Itoa(errnoOf(err)))
}

// receiver returns the function that delivers a socket's datagrams.
func (b *udpBind) receiver(s *udpSocket) conn.ReceiveFunc {
	r := &receive{bind: b, socket: s, timer: time.NewTimer(time.Hour)}
	r.messages = make([]ipv6.Message, receiveMessages)
	for i := range r.messages {
		r.messages[i].Buffers = [][]byte{make([]byte, receiveBytes)}
		r.messages[i].OOB = make([]byte, receiveOOB)
	}
	if s.is6 {
		return r.receiveIPv6
	}
	return r.receiveIPv4
}

// receive is the state of one socket's reader: messages read and not yet delivered.
type receive struct {
	bind     *udpBind
	socket   *udpSocket
	messages []ipv6.Message
	count    int // messages read
	current  int // message being cut
	at       int // octet in it
	segment  int // length of its datagrams
	last     *endpoint
	lastOOB  []byte
	heard    time.Time // when a new address was last reported
	lastBuf  [maxBatch]*byte
	lastN    int
	timer    *time.Timer
}

// The names show in wireguard-go's log ("Routine: receive incoming v4").
func (r *receive) receiveIPv4(bufs [][]byte, sizes []int, eps []conn.Endpoint) (int, error) {
	return r.receive(bufs, sizes, eps)
}

func (r *receive) receiveIPv6(bufs [][]byte, sizes []int, eps []conn.Endpoint) (int, error) {
	return r.receive(bufs, sizes, eps)
}

func (r *receive) receive(bufs [][]byte, sizes []int, eps []conn.Endpoint) (int, error) {
	limit := r.bind.tun.rx
	// WireGuard keeps the buffers of packets it works on: the same buffer again means that the packet was refused.
	lost := 0
	for i := 0; i < r.lastN; i++ {
		if r.lastBuf[i] != nil && r.lastBuf[i] == &bufs[i][0] {
			lost++
		}
	}
	r.lastN = 0
	if lost > 0 {
		limit.drop(lost)
	}
	for {
		room, wait := limit.room()
		if room > 0 {
			break
		}
		r.timer.Reset(wait)
		select {
		case <-limit.wake:
		case <-r.timer.C:
		case <-r.bind.tun.closed:
			return 0, net.ErrClosed
		}
	}
	if r.current >= r.count {
		if err := r.fill(); err != nil {
			return 0, err
		}
	}
	n, data := 0, 0
	for n < len(bufs) && r.current < r.count {
		m := &r.messages[r.current]
		if r.at == 0 {
			r.open(m)
		}
		end := min(r.at+r.segment, m.N)
		sizes[n] = copy(bufs[n], m.Buffers[0][r.at:end])
		eps[n] = r.last
		r.lastBuf[n] = nil
		if isData(bufs[n][:sizes[n]]) {
			r.lastBuf[n] = &bufs[n][0]
			data++
		}
		n++
		r.at = end
		if r.at >= m.N {
			r.current++
			r.at = 0
		}
	}
	r.lastN = n
	limit.enter(data)
	return n, nil
}

// fill reads from the socket; it waits until there is something.
func (r *receive) fill() error {
	for i := range r.messages {
		r.messages[i].OOB = r.messages[i].OOB[:receiveOOB]
	}
	r.current, r.count, r.at = 0, 0, 0
	n, err := r.socket.pc.ReadBatch(r.messages, 0)
	if err != nil {
		return err
	}
	r.count = n
	return nil
}

// open looks at a message's control data: where it came from and to, and the length of its datagrams.
func (r *receive) open(m *ipv6.Message) {
	r.segment = max(m.N, 1)
	var info []byte
	var src netip.Addr
	for rest := m.OOB[:m.NN]; len(rest) > unix.SizeofCmsghdr; {
		h, data, next, err := unix.ParseOneSocketControlMessage(rest)
		if err != nil {
			break
		}
		switch {
		case h.Level == unix.SOL_UDP && h.Type == unix.UDP_GRO && len(data) >= 2:
			if size := int(*(*uint16)(unsafe.Pointer(&data[0]))); size > 0 {
				r.segment = size
			}
		case h.Level == unix.IPPROTO_IP && h.Type == unix.IP_PKTINFO && len(data) >= unix.SizeofInet4Pktinfo:
			info = rest[:unix.CmsgSpace(unix.SizeofInet4Pktinfo)]
			src = netip.AddrFrom4([4]byte(data[4:8]))
		case h.Level == unix.IPPROTO_IPV6 && h.Type == unix.IPV6_PKTINFO && len(data) >= unix.SizeofInet6Pktinfo:
			info = rest[:unix.CmsgSpace(unix.SizeofInet6Pktinfo)]
			src = netip.AddrFrom16([16]byte(data[:16]))
		}
		rest = next
	}
	from := m.Addr.(*net.UDPAddr).AddrPort()
	from = netip.AddrPortFrom(from.Addr().Unmap(), from.Port())
	if r.last != nil && r.last.dst == from && r.last.src == src && string(info) == string(r.lastOOB) {
		return
	}
	r.lastOOB = append(r.lastOOB[:0], info...)
	r.last = newEndpoint(from, append([]byte(nil), info...), src)
	if now := time.Now(); now.Sub(r.heard) >= heardInterval {
		r.heard = now
		r.bind.event("heard", "endpoint="+from.String())
	}
}

func appendSegmentSize(oob []byte, size int) []byte {
	at := len(oob)
	oob = oob[:at+unix.CmsgSpace(2)]
	clear(oob[at:])
	h := (*unix.Cmsghdr)(unsafe.Pointer(&oob[at]))
	h.Level = unix.SOL_UDP
	h.Type = unix.UDP_SEGMENT
	h.SetLen(unix.CmsgLen(2))
	*(*uint16)(unsafe.Pointer(&oob[at+unix.CmsgLen(0)])) = uint16(size)
	return oob
}

// isData says whether a datagram is a transport message that carries a packet.
func isData(p []byte) bool {
	return len(p) > device.MessageTransportSize && p[0] == device.MessageTransportType
}

func errnoOf(err error) int {
	var e syscall.Errno
	if errors.As(err, &e) {
		return int(e)
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return int(syscall.ETIMEDOUT)
	}
	return int(syscall.EIO)
}
