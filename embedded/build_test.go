package embedded

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
)

// Programs can be run at once, whatever else is being started.
func TestWriteProgram(t *testing.T) {
	program, err := exec.LookPath("true")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	var all sync.WaitGroup
	for n := range 8 {
		all.Go(func() {
			for i := range 25 {
				path := filepath.Join(dir, fmt.Sprintf("%d-%d", n, i))
				if err := copyProgram(program, path); err != nil {
					t.Error(err)
				} else if err := exec.CommandContext(t.Context(), path).Run(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
}
