//go:build linux

package collect

import (
	"net"
	"path/filepath"
	"testing"

	"github.com/plexus-cni/plexus/internal/test/check"
)

// An agent that was killed leaves its socket: the file alone says nothing.
func TestServes(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "agent.sock")
	check.Equal(t, "without a socket", serves(socket), false)
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: socket, Net: "unix"})
	check.Must(t, err)
	check.Equal(t, "with an agent", serves(socket), true)
	listener.SetUnlinkOnClose(false)
	check.Must(t, listener.Close())
	check.Equal(t, "after the agent", serves(socket), false)
}
