package manila

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/chandler-broker/chandler/services/access"
)

// What a killed process had mounted is unmounted and removed; what a living one has stays.
func TestLeftovers(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can mount")
	}
	t.Setenv("TMPDIR", t.TempDir())
	mounted := func() (string, *os.File) {
		folder, lock, err := takeFolder()
		if err == nil {
			err = errors.Join(os.WriteFile(filepath.Join(folder, keyringName), nil, 0o600), os.Mkdir(filepath.Join(folder, shareName), 0o700))
		}
		if err == nil {
			err = syscall.Mount("tmpfs", filepath.Join(folder, shareName), "tmpfs", 0, "size=1m")
		}
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = removeFolder(folder) })
		if err := os.WriteFile(filepath.Join(folder, shareName, "file"), []byte("a tenant's"), 0o600); err != nil {
			t.Fatal(err)
		}
		return folder, lock
	}
	dead, lock := mounted()
	if err := lock.Close(); err != nil { // as the kernel does at the end of a process
		t.Fatal(err)
	}
	alive, held := mounted()
	defer held.Close()
	removeLeftovers()
	if _, err := os.Stat(dead); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the folder of a dead process: %v", err)
	}
	if _, err := os.Stat(filepath.Join(alive, shareName, "file")); err != nil {
		t.Errorf("the share of a living process: %v", err)
	}
}

// helperCredentials makes TestKilledClient in another process a client that the test can kill.
const helperCredentials = "MANILA_TEST_CREDENTIALS"

// A client ends with the process that mounted the share, even by kill -9.
func TestKilledClient(t *testing.T) {
	if text := os.Getenv(helperCredentials); text != "" {
		var values map[string]any
		err := json.Unmarshal([]byte(text), &values)
		if err == nil {
			_, err = dial(t.Context(), values)
		}
		fmt.Println("mounted:", err)
		select {}
	}
	b := newClientCloud(t).backend(t, "mkilled")
	inst := provisioned(t, b, nil)
	c := bound(t, b, inst, newBinding(t, inst, "b", access.ReadWrite))
	text, err := json.Marshal(c.Values)
	if err != nil {
		t.Fatal(err)
	}
	temporary := t.TempDir()
	helper := exec.CommandContext(t.Context(), os.Args[0], "-test.run", "^TestKilledClient$") //nolint:gosec // this test's program
	helper.Env = append(os.Environ(), helperCredentials+"="+string(text), "TMPDIR="+temporary)
	out, err := helper.StdoutPipe()
	if err == nil {
		err = helper.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	line, _ := bufio.NewReader(out).ReadString('\n')
	if err := errors.Join(helper.Process.Kill(), ignoreExit(helper.Wait())); err != nil || line != "mounted: <nil>\n" {
		t.Fatal(line, err)
	}
	folders, _ := filepath.Glob(filepath.Join(temporary, folderPrefix+"*")) // fails only for a bad pattern
	for deadline := time.Now().Add(10 * time.Second); clients(folders) != ""; time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("the client still runs: %s", clients(folders))
		}
	}
	t.Setenv("TMPDIR", temporary)
	dialled(t, c)
	if _, err := os.Stat(folders[0]); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the next session leaves the folder of the dead one: %v", err)
	}
}

func ignoreExit(err error) error {
	if _, ok := errors.AsType[*exec.ExitError](err); ok {
		return nil
	}
	return err
}

// clients are the command lines of processes that name any of the folders.
func clients(folders []string) string {
	files, _ := filepath.Glob("/proc/[0-9]*/cmdline") // fails only for a bad pattern
	for _, file := range files {
		text, _ := os.ReadFile(file) //nolint:gosec // it may have ended
		for _, folder := range folders {
			if strings.Contains(string(text), folder) {
				return strings.ReplaceAll(string(text), "\x00", " ")
			}
		}
	}
	return ""
}
