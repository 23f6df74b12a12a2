package main

// A WireGuard device whose packets are the host kernel's: its other side is a TUN instead of the router's rings. For hosts with
// privileges whose kernel has no WireGuard. Packets do not pass the router, so nothing here counts or limits them.

import (
	"golang.org/x/sys/unix"
	"golang.zx2c4.com/wireguard/tun"
)

// openHostTUN attaches to the TUN of that name, or makes it. It stays when we end, with its addresses and routes, so that the next
// child goes on with it; whoever asked for it removes it.
func openHostTUN(name string, mtu int) (tun.Device, error) {
	t, err := tun.CreateTUN(name, mtu)
	if err != nil {
		return nil, err
	}
	raw, err := t.File().SyscallConn()
	if err == nil {
		// Not File.Fd(), which would make the descriptor blocking.
		if e := raw.Control(func(fd uintptr) { err = unix.IoctlSetInt(int(fd), unix.TUNSETPERSIST, 1) }); e != nil {
			err = e
		}
	}
	if err != nil {
		t.Close()
		return nil, err
	}
	return t, nil
}
