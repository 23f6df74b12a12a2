package main

// The control socket (fd 3): blocks of key=value lines ended by an empty line, in WireGuard's userspace API dialect
// (https://www.wireguard.com/xplatform/), preceded by the device a block is for. Answers come in order and end with
// errno=N and an empty line; blocks that start with event= are notes of the child. Keys travel here and nowhere else.

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.zx2c4.com/wireguard/conn"
	"golang.zx2c4.com/wireguard/device"
)

const maxBlock = 16 << 20

// host is one WireGuard device and what it is made of. One on a TUN of the host has no part in the rings: tun and bind are nil.
type host struct {
	name string
	tun  *tunDevice
	bind *udpBind
	dev  *device.Device
	up   bool
}

type server struct {
	conn   io.ReadWriter
	region *region
	txRing *txRing
	rxRing *rxRing
	sums   sums
	hosts  map[int]*host

	writeMu sync.Mutex
}

func newServer(conn io.ReadWriter, r *region, tx *txRing, rx *rxRing) *server {
	return &server{conn: conn, region: r, txRing: tx, rxRing: rx, hosts: map[int]*host{}}
}

type line struct{ key, value string }

// serve answers requests until the other side hangs up.
func (s *server) serve() error {
	in := bufio.NewReaderSize(s.conn, 64<<10)
	var block []line
	size := 0
	for {
		text, err := in.ReadString('\n')
		if err != nil {
			if err == io.EOF {
				return nil
			}
			return err
		}
		if size += len(text); size > maxBlock {
			return fmt.Errorf("%w: control block too long", errSettings)
		}
		text = strings.TrimSuffix(text, "\n")
		if text == "" {
			if len(block) > 0 {
				s.answer(block)
			}
			block, size = block[:0], 0
			continue
		}
		key, value, ok := strings.Cut(text, "=")
		if !ok {
			key, value = "", "" // answered with EPROTO; the line itself may hold a key and is not repeated
		}
		block = append(block, line{key, value})
	}
}

// answer handles one block: device=N, then create=1, set=1, get=1 or remove=1, then that request's lines.
func (s *server) answer(block []line) {
	var out bytes.Buffer
	errno := s.handle(block, &out)
	fmt.Fprintf(&out, "errno=%d\n\n", errno)
	s.send(out.Bytes())
}

func (s *server) handle(block []line, out *bytes.Buffer) int {
	for _, l := range block {
		if l.key == "" {
			return -int(syscall.EPROTO)
		}
	}
	if len(block) < 2 || block[0].key != "device" || block[1].value != "1" {
		return -int(syscall.EPROTO)
	}
	index, err := strconv.Atoi(block[0].value)
	if err != nil || index < 0 || index >= maxDevices {
		return -int(syscall.EINVAL)
	}
	h, rest := s.hosts[index], block[2:]
	op := block[1].key
	if op == "create" {
		if h != nil {
			return -int(syscall.EEXIST)
		}
		return s.create(index, rest)
	}
	if h == nil {
		return -int(syscall.ENODEV)
	}
	switch op {
	case "set":
		return s.set(h, rest)
	case "get":
		s.get(h, out)
		return 0
	case "remove":
		s.remove(index, h)
		return 0
	}
	return -int(syscall.EPROTO)
}

func (s *server) create(index int, lines []line) int {
	name, mtu := fmt.Sprintf("wg%d", index), device.DefaultMTU
	var opts bindOptions
	hostTUN := ""
	for _, l := range lines {
		var err error
		switch l.key {
		case "name":
			name = l.value
		case "mtu":
			mtu, err = parseMTU(l.value)
		case "tun":
			hostTUN = l.value
		case "bind_address":
			var a netip.Addr
			if a, err = netip.ParseAddr(l.value); err == nil {
				if a.Is4() {
					opts.addr4 = a
				} else {
					opts.addr6 = a
				}
			}
		case "bind_device":
			opts.device = l.value
		default:
			return -int(syscall.EINVAL)
		}
		if err != nil {
			return -int(syscall.EINVAL)
		}
	}
	logger := &device.Logger{
		Verbosef: device.DiscardLogf,
		Errorf:   func(format string, args ...any) { logf("warn", name+": "+format, args...) },
	}
	h := &host{name: name}
	if hostTUN != "" {
		if opts != (bindOptions{}) {
			return -int(syscall.EINVAL) // the host's routes and rules say where its packets leave
		}
		t, err := openHostTUN(hostTUN, mtu)
		if err != nil {
			logf("error", "%s: %v", name, err)
			return -errnoOf(err)
		}
		h.dev = device.NewDevice(t, conn.NewDefaultBind(), logger)
	} else {
		h.tun = newTunDevice(index, name, mtu, s.txRing, s.rxRing, &s.sums)
		h.bind = newBind(h.tun, opts, func(kind string, lines ...string) { s.event(kind, index, lines...) })
		h.dev = device.NewDevice(h.tun, h.bind, logger)
		s.txRing.devices[index].Store(h.tun)
	}
	s.hosts[index] = h
	setMemoryLimit(len(s.hosts))
	go func() {
		<-h.dev.Wait()
		s.event("closed", index)
	}()
	return 0
}

func parseMTU(text string) (int, error) {
	n, err := strconv.Atoi(text)
	if err == nil && (n < 68 || n > maxCutPacket) {
		err = syscall.EINVAL
	}
	return n, err
}

// set passes UAPI lines on; mtu=N is ours. The first set brings the device up.
func (s *server) set(h *host, lines []line) int {
	var uapi strings.Builder
	for _, l := range lines {
		if l.key == "mtu" {
			n, err := parseMTU(l.value)
			if err != nil {
				return -int(syscall.EINVAL)
			}
			if h.tun != nil { // of a TUN it is the host's business
				h.tun.setMTU(n)
			}
			continue
		}
		uapi.WriteString(l.key)
		uapi.WriteByte('=')
		uapi.WriteString(l.value)
		uapi.WriteByte('\n')
	}
	if err := h.dev.IpcSet(uapi.String()); err != nil {
		var ipc *device.IPCError
		if errors.As(err, &ipc) {
			return int(ipc.ErrorCode())
		}
		return -int(syscall.EIO)
	}
	if !h.up {
		if err := h.dev.Up(); err != nil {
			return -errnoOf(err)
		}
		h.up = true
	}
	return 0
}

// get writes our own counters, then WireGuard's answer.
func (s *server) get(h *host, out *bytes.Buffer) {
	fmt.Fprintf(out, "name=%s\n", h.name)
	if h.tun != nil {
		fmt.Fprintf(out, "mtu=%d\nsent=%d\nfailed=%d\nno_peer=%d\nstuck=%d\nrcvbuf=%d\n", h.tun.mtu.Load(), h.bind.sent.Load(),
			h.bind.failed.Load(), h.tun.noPeer.Load(), h.tun.drained.Load(), h.bind.rcvbuf.Load())
	}
	_ = h.dev.IpcGetOperation(out)
}

func (s *server) remove(index int, h *host) {
	if h.tun != nil {
		s.txRing.devices[index].Store(nil)
	}
	h.dev.Close()
	delete(s.hosts, index)
	setMemoryLimit(len(s.hosts))
}

func (s *server) event(kind string, index int, lines ...string) {
	s.send([]byte(fmt.Sprintf("event=%s\ndevice=%d\n%s\n", kind, index, joinLines(lines))))
}

func joinLines(lines []string) string {
	if len(lines) == 0 {
		return ""
	}
	return strings.Join(lines, "\n") + "\n"
}

func (s *server) send(b []byte) {
	s.writeMu.Lock()
	defer s.writeMu.Unlock()
	_, _ = s.conn.Write(b) // a router that is gone is noticed by reading
}

var logMu sync.Mutex
var logWindow time.Time
var logCount, logDropped int

const logPerSecond = 20

// logf writes a line "level message" to stderr, at most logPerSecond a second, with anything that looks like a key removed.
func logf(level, format string, args ...any) {
	logMu.Lock()
	defer logMu.Unlock()
	now := time.Now()
	if now.Sub(logWindow) >= time.Second {
		if logDropped > 0 {
			fmt.Fprintf(os.Stderr, "warn %d lines were not logged\n", logDropped)
		}
		logWindow, logCount, logDropped = now, 0, 0
	}
	if logCount++; logCount > logPerSecond {
		logDropped++
		return
	}
	text := strings.ReplaceAll(fmt.Sprintf(format, args...), "\n", " ")
	fmt.Fprintf(os.Stderr, "%s %s\n", level, redact(text))
}

// redact replaces runs of 40 and more base64 or hex characters.
func redact(text string) string {
	isKeyChar := func(c byte) bool {
		return c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '+' || c == '/' || c == '='
	}
	var out strings.Builder
	for i := 0; i < len(text); {
		j := i
		for j < len(text) && isKeyChar(text[j]) {
			j++
		}
		switch {
		case j-i >= 40:
			out.WriteString("(hidden)")
			i = j
		case j > i:
			out.WriteString(text[i:j])
			i = j
		default:
			out.WriteByte(text[i])
			i++
		}
	}
	return out.String()
}
