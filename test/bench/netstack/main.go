// SPDX-License-Identifier: MIT

// Command netstack sends or receives TCP octets as fast as it can, for the end-to-end benchmark.
//
//	netstack serve ADDRESS:PORT
//
// listens on the kernel's TCP. Each connection starts with one octet: 'u' (the client will send) or 'd' (the client
// wants octets until it closes).
//
//	netstack client CONFIG ADDRESS:PORT up|down STREAMS SECONDS
//
// does the same from gVisor's TCP inside a wireguard-go device (tun/netstack), and prints one JSON object. CONFIG is a
// file: first line "address=A mtu=N", the rest wireguard-go's UAPI "set" text.
package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.zx2c4.com/wireguard/conn"
	"golang.zx2c4.com/wireguard/device"
	"golang.zx2c4.com/wireguard/tun/netstack"
)

// bufferSize is what io.Copy uses.
const bufferSize = 32 * 1024

func main() {
	var err error
	switch {
	case len(os.Args) == 3 && os.Args[1] == "serve":
		err = serve(os.Args[2])
	case len(os.Args) == 7 && os.Args[1] == "client":
		err = client(os.Args[2], os.Args[3], os.Args[4], os.Args[5], os.Args[6])
	default:
		err = fmt.Errorf("usage: netstack serve ADDR | netstack client CONFIG ADDR up|down STREAMS SECONDS")
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func serve(addr string) error {
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	fmt.Println("listening")
	for {
		c, err := listener.Accept()
		if err != nil {
			return err
		}
		go func() {
			defer c.Close()
			var wish [1]byte
			if _, err := io.ReadFull(c, wish[:]); err != nil {
				return
			}
			if wish[0] == 'u' {
				pump(nil, c)
			} else {
				pump(c, nil)
			}
		}()
	}
}

// pump reads from r, or writes to w, until an error.
func pump(w io.Writer, r io.Reader) {
	buffer := make([]byte, bufferSize)
	var err error
	for err == nil {
		if r != nil {
			_, err = r.Read(buffer)
		} else {
			_, err = w.Write(buffer)
		}
	}
}

type result struct {
	BitsPerSecond float64 `json:"bits_per_second"`
	Bytes         int64   `json:"bytes"`
	Seconds       float64 `json:"seconds"`
}

func client(config, addr, direction, streamsText, secondsText string) error {
	streams, err := strconv.Atoi(streamsText)
	if err != nil {
		return err
	}
	seconds, err := strconv.ParseFloat(secondsText, 64)
	if err != nil {
		return err
	}
	stack, closeDevice, err := open(config)
	if err != nil {
		return err
	}
	defer closeDevice()

	var bytes atomic.Int64
	var running sync.WaitGroup
	connections := make([]net.Conn, streams)
	for i := range connections {
		c, err := stack.Dial("tcp", addr)
		if err != nil {
			return err
		}
		connections[i] = c
		wish := []byte{'d'}
		if direction == "up" {
			wish[0] = 'u'
		}
		if _, err := c.Write(wish); err != nil {
			return err
		}
	}
	begin := time.Now()
	for _, c := range connections {
		running.Add(1)
		go func() {
			defer running.Done()
			buffer := make([]byte, bufferSize)
			for {
				var n int
				var err error
				if direction == "up" {
					n, err = c.Write(buffer)
				} else {
					n, err = c.Read(buffer)
				}
				bytes.Add(int64(n))
				if err != nil {
					return
				}
			}
		}()
	}
	time.Sleep(time.Duration(seconds * float64(time.Second)))
	total := bytes.Load()
	elapsed := time.Since(begin).Seconds()
	for _, c := range connections {
		c.Close()
	}
	running.Wait()
	return json.NewEncoder(os.Stdout).Encode(result{float64(total) * 8 / elapsed, total, elapsed})
}

// open starts the device of a configuration file.
func open(path string) (*netstack.Net, func(), error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, nil, err
	}
	first, uapi, _ := strings.Cut(string(text), "\n")
	var address string
	var mtu int
	if _, err := fmt.Sscanf(first, "address=%s mtu=%d", &address, &mtu); err != nil {
		return nil, nil, fmt.Errorf("%s: first line: %w", path, err)
	}
	local, err := netip.ParseAddr(address)
	if err != nil {
		return nil, nil, err
	}
	tun, stack, err := netstack.CreateNetTUN([]netip.Addr{local}, nil, mtu)
	if err != nil {
		return nil, nil, err
	}
	dev := device.NewDevice(tun, conn.NewDefaultBind(), device.NewLogger(device.LogLevelError, ""))
	if err := dev.IpcSet(uapi); err != nil {
		return nil, nil, err
	}
	if err := dev.Up(); err != nil {
		return nil, nil, err
	}
	return stack, dev.Close, nil
}
