package smb

import (
	"bytes"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chandler-broker/chandler/services/servicetest"
)

// commands runs commands of smbclient on the share of credentials.
func commands(t testing.TB, credentials map[string]any, list string) (string, error) {
	t.Helper()
	return client(t, credentials, "smbclient", "//127.0.0.1/"+text(t, credentials, "share"), "--command="+list)
}

// What Samba's own client does with the credentials of two bindings that write
// and one that reads: each works on what the other made, whoever made it.
func TestSmbclient(t *testing.T) {
	server := newServer(t)
	b := server.backend(t, "c")
	inst := provisioned(t, b, "i", nil)
	one := bound(t, b, inst, newBinding(t, inst, "one", BindingParams{})).Values
	two := bound(t, b, inst, newBinding(t, inst, "two", BindingParams{})).Values
	reads := bound(t, b, inst, newBinding(t, inst, "reads", BindingParams{ReadOnly: true})).Values
	here := filepath.Join(t.TempDir(), "here")
	if err := os.WriteFile(here, []byte("content"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct {
		name    string
		as      map[string]any
		do      string
		refused string // what is said; empty: it works
	}{
		{"one makes", one, `put %s file; mkdir dir; put %s dir\inner; mkdir dir\deep`, ""},
		{"two changes what one made", two, `put %s file; rename file name; rename dir\inner dir\deep\inner; setmode name +h; setmode name -h`, ""},
		{"the reader reads", reads, `get name %s.read; get dir\deep\inner %s.read; ls dir\*`, ""},
		{"the reader overwrites", reads, `put %s name`, "ACCESS_DENIED"},
		{"the reader makes", reads, `put %s new`, "ACCESS_DENIED"},
		{"the reader makes a folder", reads, `mkdir new`, "ACCESS_DENIED"},
		{"the reader deletes", reads, `rm name`, "ACCESS_DENIED"},
		{"the reader deletes a folder", reads, `deltree dir`, "ACCESS_DENIED"},
		{"the reader renames", reads, `rename name other`, "ACCESS_DENIED"},
		{"the reader changes attributes", reads, `setmode name +r`, "ACCESS_DENIED"},
		{"one deletes what two made", one, `deltree dir; rm name; ls`, ""},
	} {
		t.Run(step.name, func(t *testing.T) {
			out, err := commands(t, step.as, strings.ReplaceAll(step.do, "%s", here))
			if step.refused == "" && (err != nil || strings.Contains(out, "NT_STATUS")) {
				t.Errorf("%v: %s", err, out)
			}
			if step.refused != "" && !strings.Contains(out, step.refused) {
				t.Errorf("%v: %s, want %s", err, out, step.refused)
			}
		})
	}
	if read, err := os.ReadFile(here + ".read"); err != nil || string(read) != "content" {
		t.Errorf("read: %q, %v", read, err)
	}
	if err := servicetest.Once(b).Deprovision(testContext(t), inst); err != nil {
		t.Errorf("deprovision of what was emptied: %v", err)
	}
}

// interactive is a session of smbclient that goes on.
type interactive struct {
	in  io.WriteCloser
	mu  sync.Mutex
	out bytes.Buffer
}

func (i *interactive) Write(p []byte) (int, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.out.Write(p)
}

func converse(t *testing.T, credentials map[string]any) *interactive {
	t.Helper()
	// stdbuf: what it prints comes at once, and not when there is a page of it.
	cmd := exec.CommandContext(t.Context(), needed(t, "stdbuf"), "--output=0", needed(t, "smbclient"), "//127.0.0.1/"+text(t, credentials, "share"), "--configfile=/dev/null",
		fmt.Sprintf("--port=%.0f", credentials["port"]), "--user="+text(t, credentials, "username"))
	cmd.Env = []string{"PATH=/usr/bin:/bin", "PASSWD=" + text(t, credentials, "password")}
	i := &interactive{}
	var err error
	if i.in, err = cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = i, i
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = i.in.Close()
		_ = cmd.Wait() // a session that was cut ends with an error
	})
	return i
}

// says gives a command and waits for words in what comes then. smbclient forgets
// a command that comes before it asks for one, so each must have its answer.
func (i *interactive) says(t *testing.T, command, words string) {
	t.Helper()
	i.mu.Lock()
	i.out.Reset()
	i.mu.Unlock()
	if _, err := io.WriteString(i.in, command+"\n"); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		i.mu.Lock()
		said := i.out.String()
		i.mu.Unlock()
		if strings.Contains(said, words) {
			return
		}
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	t.Errorf("%s: %s, want %s", command, i.out.String(), words)
}

// A live session of smbclient is cut at unbind, and cannot come back within the
// session that it has; the sessions of another binding, on the same share, notice
// nothing.
func TestSmbclientIsCut(t *testing.T) {
	b := newServer(t).backend(t, "c")
	inst := provisioned(t, b, "i", nil)
	going := newBinding(t, inst, "going", BindingParams{})
	cut := converse(t, bound(t, b, inst, going).Values)
	other := converse(t, bound(t, b, inst, newBinding(t, inst, "other", BindingParams{})).Values)
	cut.says(t, "ls", "blocks available")
	other.says(t, "ls", "blocks available")
	if err := finished(t, func() error { return servicetest.Once(b).Unbind(testContext(t), inst, going) }); err != nil {
		t.Fatal(err)
	}
	cut.says(t, "ls", "NT_STATUS_NETWORK_NAME_DELETED")
	cut.says(t, "tcon "+b.names.resource(inst.Name), "NT_STATUS_ACCESS_DENIED")
	cut.says(t, "ls", "NT_STATUS_NETWORK_NAME_DELETED")
	other.says(t, "ls", "blocks available")
}

// Two users share one connection, as they do on a machine that mounts for many:
// one is cut, the other goes on.
func TestCutOnSharedConnection(t *testing.T) {
	b := newServer(t).backend(t, "c")
	inst, theirs := provisioned(t, b, "i", nil), provisioned(t, b, "theirs", nil)
	going := newBinding(t, inst, "going", BindingParams{})
	both := converse(t, bound(t, b, inst, going).Values)
	both.says(t, "ls", "blocks available")
	other := bound(t, b, theirs, newBinding(t, theirs, "other", BindingParams{})).Values
	both.says(t, "logon "+text(t, other, "username")+" "+text(t, other, "password"), "Current VUID is")
	both.says(t, "tcon "+text(t, other, "share"), "successful")
	both.says(t, "ls", "blocks available")
	if err := finished(t, func() error { return servicetest.Once(b).Unbind(testContext(t), inst, going) }); err != nil {
		t.Fatal(err)
	}
	both.says(t, "ls", "blocks available")
}

// wire is a connection to the server that notes what passes.
type wire struct {
	mu     sync.Mutex
	passed bytes.Buffer
}

func (w *wire) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.passed.Write(p)
}

func tapped(t *testing.T, address string) (*wire, net.Listener) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	w := &wire{}
	go func() {
		for {
			from, err := listener.Accept()
			if err != nil {
				return
			}
			to, err := net.Dial("tcp", address)
			if err != nil {
				_ = from.Close()
				return
			}
			go func() { _, _ = io.Copy(io.MultiWriter(to, w), from); _ = to.Close() }()
			go func() { _, _ = io.Copy(io.MultiWriter(from, w), to); _ = from.Close() }()
		}
	}()
	return w, listener
}

// Neither names nor contents pass the wire as they are.
func TestEncrypted(t *testing.T) {
	server := newServer(t)
	b := server.backend(t, "c")
	inst := provisioned(t, b, "i", nil)
	credentials := maps.Clone(bound(t, b, inst, newBinding(t, inst, "b", BindingParams{})).Values)
	w, listener := tapped(t, server.Address())
	credentials["port"] = float64(listener.Addr().(*net.TCPAddr).Port)
	s := dialled(t, credentials)
	const content = "what-nobody-else-may-read"
	s.mustWrite(t, content, content)
	if got, err := s.Read(testContext(t), content); err != nil || got != content {
		t.Fatalf("%q, %v", got, err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	wide := strings.Join(strings.Split(content, ""), "\x00") // UTF-16, as names are sent
	for _, plain := range []string{content, wide, text(t, credentials, "password")} {
		if bytes.Contains(w.passed.Bytes(), []byte(plain)) {
			t.Errorf("%q passes the wire as it is", plain)
		}
	}
	if w.passed.Len() < 1000 {
		t.Errorf("only %d bytes passed", w.passed.Len())
	}
}
