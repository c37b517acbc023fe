package embedded

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Servers that are started side by side never get the same port: each listens on
// its own only a while after it was chosen.
func TestPortsAreReserved(t *testing.T) {
	open := func() *folder {
		f, err := openFolder(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(f.close)
		return f
	}
	one, other := open(), open()
	port, err := one.keptPort(t.Context(), portFile, 0, tryTCP)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := one.keptPort(t.Context(), portFile, 0, tryTCP); err != nil || again != port {
		t.Errorf("the next start gets port %d and not %d: %v", again, port, err)
	}
	if _, err := other.keptPort(t.Context(), portFile, port, tryTCP); err == nil || !strings.Contains(err.Error(), "another server's that chandler runs") {
		t.Errorf("the other server gets the same port: %v", err)
	}
	if _, err := one.keptPort(t.Context(), apiPortFile, port, tryTCP); err == nil {
		t.Error("a server gets one port for two purposes")
	}
	one.close()
	if _, err := other.keptPort(t.Context(), portFile, port, tryTCP); err != nil {
		t.Errorf("a port that was given back: %v", err)
	}
	if _, err := os.Stat(filepath.Join(other.root, portFile)); err != nil {
		t.Error(err)
	}
}
