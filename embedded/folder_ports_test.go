package embedded

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Servers that start side by side never get the same port, although each listens on its
// port only some time after it was chosen.
func TestPortsAreReserved(t *testing.T) {
	open := func() *folder {
		f, err := openFolder(t.TempDir(), false)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(f.close)
		return f
	}
	one, other := open(), open()
	port, err := one.storedPort(t.Context(), portFile, tryTCP)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := one.storedPort(t.Context(), portFile, tryTCP); err != nil || again != port {
		t.Errorf("the next start gets port %d and not %d: %v", again, port, err)
	}
	withPort(t, other.root, portFile, port)
	if _, err := other.storedPort(t.Context(), portFile, tryTCP); err == nil || !strings.Contains(err.Error(), "another server that chandler runs") {
		t.Errorf("the other server gets the same port: %v", err)
	}
	withPort(t, one.root, apiPortFile, port)
	if _, err := one.storedPort(t.Context(), apiPortFile, tryTCP); err == nil {
		t.Error("a server gets one port for two purposes")
	}
	one.close()
	if _, err := other.storedPort(t.Context(), portFile, tryTCP); err != nil {
		t.Errorf("a port that was released: %v", err)
	}
	if _, err := os.Stat(filepath.Join(other.root, portFile)); err != nil {
		t.Error(err)
	}
}
