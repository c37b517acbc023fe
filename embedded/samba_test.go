package embedded

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cloudsoda/go-smb2"
)

func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() == 0 {
		return
	}
	if os.Getenv("CI") == "true" {
		t.Fatal("a Samba server takes root: run this test as root")
	}
	t.Skip("a Samba server takes root: run this test as root")
}

func runSamba(t *testing.T, dir string) *Samba {
	t.Helper()
	needRoot(t)
	s, err := StartSamba(t.Context(), SambaOptions{Options: Options{Dir: dir, NoSync: true}})
	if errors.Is(err, ErrNoSamba) && os.Getenv("CI") != "true" {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stopSamba(t, s) })
	return s
}

func stopSamba(t *testing.T, s *Samba) {
	t.Helper()
	if err := s.Stop(context.Background()); err != nil { // t's context has ended in a cleanup
		t.Fatal(err)
	}
}

// tool runs one of the server's own programs.
func tool(t *testing.T, s *Samba, input, name string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), filepath.Join(s.ProgramsFolder(), name), args...)
	cmd.Stdin = strings.NewReader(input)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %v: %v: %s", name, args, err, out)
	}
	return string(out)
}

// makeShare makes a share with a user of its own, and a file in it.
func makeShare(t *testing.T, s *Samba) {
	t.Helper()
	for name, line := range map[string]string{"passwd": "tenant:*:12345:12345::/:/bin/false\n", "group": "tenant:*:12345:\n"} {
		path := filepath.Join(sambaAccounts, name)
		before, err := s.folder.readFile(path)
		if err != nil {
			t.Fatal(err)
		}
		// A new file each time: nss_wrapper looks at nothing finer than seconds
		// to find out whether one has changed.
		err = errors.Join(s.folder.writeFile(path, []byte(string(before)+"\n"+line)), s.folder.setOwner(s.folder.path(path), 0o644))
		if err != nil {
			t.Fatal(err)
		}
	}
	dir := filepath.Join(s.SharesFolder(), "share")
	if err := errors.Join(os.Mkdir(dir, 0o700), os.Chown(dir, 12345, 12345)); err != nil {
		t.Fatal(err)
	}
	tool(t, s, "secret\nsecret\n", "smbpasswd", "-c", s.ConfigFile(), "-s", "-a", "tenant")
	tool(t, s, "[share]\npath = "+dir+"\nread only = no\n", "net", "conf", "-s", s.ConfigFile(), "import", "/dev/stdin", "share")
	share, err := mount(t, s, "secret")
	if err != nil {
		t.Fatal(err)
	}
	if err := share.WriteFile("word", []byte("anchor"), 0o600); err != nil {
		t.Fatal(err)
	}
}

// mount connects to the share that makeShare made.
func mount(t *testing.T, s *Samba, password string) (*smb2.Share, error) {
	t.Helper()
	dialer := smb2.Dialer{Initiator: &smb2.NTLMInitiator{User: "tenant", Password: password}}
	session, err := dialer.Dial(t.Context(), s.Address())
	if err != nil {
		return nil, err
	}
	t.Cleanup(func() { _ = session.Logoff() }) // the server may have ended
	return session.Mount("share")
}

func sharedWord(t *testing.T, s *Samba) string {
	t.Helper()
	share, err := mount(t, s, "secret")
	if err != nil {
		t.Fatal(err)
	}
	content, err := share.ReadFile("word")
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

func TestSambaKeepsData(t *testing.T) {
	dir := filepath.Join(reachable(t), "samba")
	first := runSamba(t, dir)
	makeShare(t, first)
	stopSamba(t, first)
	if err, ok := <-first.Done(); ok {
		t.Fatalf("Done after Stop: %v", err)
	}
	second := runSamba(t, dir)
	if second.Address() != first.Address() {
		t.Error("the second start has another port")
	}
	if got := sharedWord(t, second); got != "anchor" {
		t.Errorf("data: %q", got)
	}
	if _, err := mount(t, second, "wrong"); !errors.Is(err, fs.ErrPermission) && (err == nil || !strings.Contains(err.Error(), "response error")) {
		t.Errorf("with a wrong password: %v", err)
	}
}

func TestSambaSurvives(t *testing.T) {
	s := runSamba(t, reachable(t))
	makeShare(t, s)
	for _, c := range []struct {
		name string
		harm func()
	}{
		{"restart", func() {}},
		{"kill", s.Kill},
		{"a crash", func() {
			_ = s.process.child.Kill() // as nobody here asked for
			if err := <-s.Done(); err == nil || !strings.Contains(err.Error(), "killed") {
				t.Errorf("Done: %v", err)
			}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			share, err := mount(t, s, "secret") // has a process of its own
			if err != nil {
				t.Fatal(err)
			}
			before := holders(s.folder.root)
			c.harm()
			if err := s.Restart(t.Context()); err != nil {
				t.Fatal(err)
			}
			if _, err := share.Stat("word"); err == nil {
				t.Error("a session outlived the server")
			}
			for _, pid := range holders(s.folder.root) {
				for _, old := range before {
					if pid == old {
						t.Errorf("process %d outlived the server", pid)
					}
				}
			}
			if got := sharedWord(t, s); got != "anchor" {
				t.Errorf("data: %q", got)
			}
		})
	}
	stopSamba(t, s)
	for end := time.Now().Add(time.Minute); len(holders(s.folder.root)) > 0; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("processes are left after Stop")
		}
	}
}

// The server's accounts are its own, its secrets root's, and it is to be reached
// over loopback only.
func TestSambaSettings(t *testing.T) {
	s := runSamba(t, reachable(t))
	makeShare(t, s)
	machine, err := os.ReadFile("/etc/passwd")
	if err != nil || strings.Contains(string(machine), "tenant:*:12345") {
		t.Errorf("the machine's accounts: %v", err)
	}
	for name, mode := range map[string]fs.FileMode{"private": 0o700, "state": 0o700, "shares": 0o711, "accounts": 0o755, "programs": 0o700} {
		info, err := os.Stat(s.folder.path(name))
		if err != nil || info.Mode().Perm() != mode {
			t.Errorf("%s: %v, %v", name, info, err)
		}
	}
	host, _, err := net.SplitHostPort(s.Address())
	if err != nil || host != loopback {
		t.Errorf("address: %s", s.Address())
	}
	said := tool(t, s, "", "testparm", "-s", "-v", "--section-name=global", s.ConfigFile())
	for _, setting := range []string{"server smb encrypt = required", "server min protocol = SMB3", "map to guest = Never", "restrict anonymous = 2", "bind interfaces only = Yes"} {
		if !strings.Contains(said, setting) {
			t.Errorf("the server is not told %q", setting)
		}
	}
}

func TestSambaRefuses(t *testing.T) {
	needRoot(t)
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = taken.Close() }()
	port := taken.Addr().(*net.TCPAddr).Port
	closed := filepath.Join(reachable(t), "closed")
	if err := os.Mkdir(closed, 0o700); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		options SambaOptions
		want    string
	}{
		"a port that is taken":        {SambaOptions{Options: Options{Dir: withPort(t, reachable(t), portFile, port)}}, "port " + strconv.Itoa(port)},
		"a folder that Samba misread": {SambaOptions{Options: Options{Dir: filepath.Join(reachable(t), "100% x")}}, "configuration cannot contain the path"},
		"a folder behind closed ones": {SambaOptions{Options: Options{Dir: filepath.Join(closed, "samba")}}, "name a folder that everybody can reach"},
		"shares behind closed ones":   {SambaOptions{Options: Options{Dir: reachable(t)}, Shares: filepath.Join(closed, "shares")}, "name a folder that everybody can reach"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := StartSamba(t.Context(), c.options)
			if errors.Is(err, ErrNoSamba) && !strings.Contains(err.Error(), c.want) && os.Getenv("CI") != "true" {
				t.Skip(err)
			}
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error: %v, want %q", err, c.want)
			}
		})
	}
}
