package embedded

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5"
)

// run starts a server that ends with the test.
func run(t *testing.T, dir string) *Postgres {
	t.Helper()
	needPostgres(t)
	s, err := StartPostgres(t.Context(), Options{Dir: dir, NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stop(t, s) })
	return s
}

func stop(t *testing.T, s *Postgres) {
	t.Helper()
	if err := s.Stop(context.Background()); err != nil { // t's context has ended in a cleanup
		t.Fatal(err)
	}
}

func needPostgres(t *testing.T) {
	t.Helper()
	switch _, err := findPostgres(t.Context(), 0); {
	case err != nil && os.Getenv("CI") == "true":
		t.Fatal(err)
	case err != nil:
		t.Skip(err)
	}
}

// withPort stores a port in a server's folder, as an earlier start does.
func withPort(t *testing.T, dir, file string, port int) string {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, file), []byte(strconv.Itoa(port)), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

// reachable is a folder that every user can reach.
func reachable(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "embedded-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// query runs statements on url and returns the last one's value.
func query(t *testing.T, url string, statements ...string) string {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	var value string
	for i, statement := range statements {
		if i < len(statements)-1 {
			_, err = conn.Exec(t.Context(), statement)
		} else {
			err = conn.QueryRow(t.Context(), statement).Scan(&value)
		}
		if err != nil {
			t.Fatalf("%s: %v", statement, err)
		}
	}
	return value
}

var (
	write = []string{"CREATE TABLE kept (n int)", "INSERT INTO kept VALUES (42)", "SELECT n::text FROM kept"}
	read  = "SELECT n::text FROM kept"
)

func TestPostgresKeepsDataAndPort(t *testing.T) {
	for name, dir := range map[string]func(*testing.T) string{
		"folder that the server's user can get to": reachable,
		"folder below one of mode 0700":            func(t *testing.T) string { return t.TempDir() },
		"odd name":                                 func(t *testing.T) string { return filepath.Join(reachable(t), "it's a \"fôlder\" % x") },
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(dir(t), "postgres")
			first := run(t, dir)
			query(t, first.URL("postgres"), write...)
			stop(t, first)
			if err, ok := <-first.Done(); ok {
				t.Fatalf("Done after Stop: %v", err)
			}
			if left := holders(first.folder.root); len(left) > 0 {
				t.Fatalf("left running after Stop: %v", left)
			}
			second := run(t, dir)
			if second.URL("postgres") != first.URL("postgres") || second.Port() != first.Port() {
				t.Errorf("the second start is at %d, the first at %d", second.Port(), first.Port())
			}
			if got := query(t, second.URL("postgres"), read); got != "42" {
				t.Errorf("data: %s", got)
			}
		})
	}
}

func TestPostgresSettings(t *testing.T) {
	s := run(t, t.TempDir())
	for setting, want := range map[string]string{
		"listen_addresses": "127.0.0.1", "unix_socket_directories": "", "server_encoding": "UTF8",
		"password_encryption": "scram-sha-256", "log_min_error_statement": "panic", "fsync": "off",
		"max_connections": "200", "max_locks_per_transaction": "256", "authentication_timeout": "10s",
	} {
		if got := query(t, s.URL("postgres"), "SHOW "+setting); got != want {
			t.Errorf("%s is %q, not %q", setting, got, want)
		}
	}
	if got := query(t, s.URL("postgres"), "SELECT datcollate FROM pg_database WHERE datname = 'template1'"); got != "C.UTF-8" {
		t.Errorf("collation %q", got)
	}
	s.noSync = false
	if err := s.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := query(t, s.URL("postgres"), "SHOW fsync"); got != "on" {
		t.Errorf("fsync is %s where NoSync is not asked for", got)
	}
}

func TestPostgresKeepsItsPassword(t *testing.T) {
	s := run(t, t.TempDir())
	wrong := strings.Replace(s.URL("postgres"), s.password, "guess", 1)
	if conn, err := pgx.Connect(t.Context(), wrong); err == nil {
		_ = conn.Close(t.Context())
		t.Error("any password is good")
	}
	argv, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", s.process.child.Pid))
	if err != nil || strings.Contains(string(argv), s.password) {
		t.Errorf("the password is in the list of processes, or %v", err)
	}
	holders := 0
	err = filepath.WalkDir(s.folder.root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		if info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s is open to others: %s", path, info.Mode())
		}
		content, err := os.ReadFile(path)
		if strings.Contains(string(content), s.password) {
			holders++
		}
		return err
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	if holders != 1 {
		t.Errorf("the password is in %d files", holders)
	}
}

func TestPostgresSideBySide(t *testing.T) {
	a, b := run(t, t.TempDir()), run(t, t.TempDir())
	if a.Port() == b.Port() {
		t.Fatal("two servers on one port")
	}
	query(t, a.URL("postgres"), write...)
	if got := query(t, b.URL("postgres"), "SELECT count(*)::text FROM pg_tables WHERE tablename = 'kept'"); got != "0" {
		t.Error("two servers on the same data")
	}
}

func TestPostgresCrashAndRestart(t *testing.T) {
	s := run(t, t.TempDir())
	query(t, s.URL("postgres"), write...)
	s.Kill()
	if err := <-s.Done(); err == nil || !strings.Contains(err.Error(), "killed") {
		t.Fatalf("Done after a crash: %v", err)
	}
	for _, crash := range []bool{true, false} {
		if crash {
			s.Kill() // dead already
		}
		if err := s.Restart(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := query(t, s.URL("postgres"), read); got != "42" {
			t.Errorf("data after a restart: %s", got)
		}
	}
	if len(s.Done()) > 0 {
		t.Errorf("Done after Restart: %v", <-s.Done())
	}
	stop(t, s)
	if err := s.Restart(t.Context()); err == nil {
		t.Error("a stopped server restarts")
	}
}

// A server of the folder that still runs, though its parent is gone, is ended
// first.
func TestPostgresEndsAServerLeftBehind(t *testing.T) {
	dir := t.TempDir()
	s := run(t, dir)
	query(t, s.URL("postgres"), write...)
	stop(t, s)

	f, err := openFolder(dir, false)
	if err != nil {
		t.Fatal(err)
	}
	stranger := start(t, command{s.program(), f})
	eventually(t, "the stranger is up", func() bool {
		content, _ := f.readFile(pidFile)
		return strings.HasSuffix(string(content), "ready")
	})
	f.close()

	again := run(t, dir)
	select {
	case <-stranger.done:
	default:
		t.Error("the server left behind still runs")
	}
	if got := query(t, again.URL("postgres"), read); got != "42" {
		t.Errorf("data: %s", got)
	}
}

func TestPostgresStartsPastWhatACrashLeaves(t *testing.T) {
	for name, leave := range map[string]func(*testing.T, string){
		"half-made data": func(t *testing.T, dir string) {
			if err := os.RemoveAll(filepath.Join(dir, dataFolder)); err != nil {
				t.Fatal(err)
			}
			if err := os.MkdirAll(filepath.Join(dir, freshData, "base"), 0o700); err != nil {
				t.Fatal(err)
			}
		},
		"a number that is another process's by now": func(t *testing.T, dir string) {
			content := fmt.Sprintf("%d\n%s\n", os.Getpid(), filepath.Join(dir, dataFolder))
			if err := os.WriteFile(filepath.Join(dir, pidFile), []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			stop(t, run(t, dir))
			leave(t, dir)
			query(t, run(t, dir).URL("postgres"), "SELECT 'up'")
		})
	}
}

func TestPostgresErrorsSayWhatToDo(t *testing.T) {
	dir := t.TempDir()
	s := run(t, dir)
	taken := s.Port()
	for name, test := range map[string]struct {
		options Options
		want    string
	}{
		"folder in use": {Options{Dir: dir}, "stop that process"},
		"port in use":   {Options{Dir: withPort(t, t.TempDir(), portFile, taken), NoSync: true}, fmt.Sprintf("port %d cannot be listened on", taken)},
		"not a folder":  {Options{Dir: "/dev/null"}, "make the data folder"},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := StartPostgres(t.Context(), test.options)
			if err == nil {
				stop(t, s)
			}
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("%q is not in %v", test.want, err)
			}
		})
	}
	_, err := findPostgres(t.Context(), 9000)
	if !errors.Is(err, ErrNoPostgres) || !strings.Contains(err.Error(), "made by PostgreSQL 9000") {
		t.Errorf("data of a version that is not installed: %v", err)
	}
}

func TestPostgresOnTheStoredPort(t *testing.T) {
	port, err := freePort(t.Context(), tryTCP)
	if err != nil {
		t.Fatal(err)
	}
	if s := run(t, withPort(t, t.TempDir(), portFile, port)); s.Port() != port {
		t.Errorf("port %d is stored, %d is used", port, s.Port())
	}
}

// parent starts this test binary as the parent of a server, as the given user.
func parent(t *testing.T, dir string, user *syscall.Credential) (url string, child *os.Process) {
	t.Helper()
	needPostgres(t)
	binary := filepath.Join(reachable(t), "parent") // the go command's own folder is closed to others
	if err := copyProgram("/proc/self/exe", binary); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(binary)
	cmd.Dir = "/"
	cmd.Env = append(os.Environ(), helperFolder+"="+dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: user}
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	if _, err := fmt.Fscanln(out, &url); err != nil || !strings.HasPrefix(url, "postgres://") {
		t.Fatalf("the parent said %q, %v", url, err)
	}
	return url, cmd.Process
}

func TestPostgresDiesWithItsParent(t *testing.T) {
	dir := t.TempDir()
	_, child := parent(t, dir, nil)
	if len(holders(dir)) == 0 {
		t.Fatal("no server runs")
	}
	if err := child.Kill(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the server is gone", func() bool { return len(holders(dir)) == 0 })
}

func TestPostgresAfterTheParentWasKilled(t *testing.T) {
	for name, killAll := range map[string]bool{"parent": false, "parent and server": true} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			url, child := parent(t, dir, nil)
			query(t, url, write...)
			session, err := pgx.Connect(t.Context(), url) // one more process that may linger
			if err != nil {
				t.Fatal(err)
			}
			defer session.Close(context.Background())
			if err := child.Kill(); err != nil {
				t.Fatal(err)
			}
			if killAll {
				signalAll(holders(dir), dir, syscall.SIGKILL)
			}
			s := run(t, dir)
			if s.URL("postgres") != url {
				t.Errorf("port %d is not the one of before", s.Port())
			}
			if got := query(t, s.URL("postgres"), read); got != "42" {
				t.Errorf("data: %s", got)
			}
		})
	}
}

func TestPostgresNotAsRoot(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("this test process is not root's, so all the others show it")
	}
	nobody := &syscall.Credential{Uid: 65534, Gid: 65534}
	dir := reachable(t)
	if err := os.Chown(dir, int(nobody.Uid), int(nobody.Gid)); err != nil {
		t.Fatal(err)
	}
	url, _ := parent(t, filepath.Join(dir, "postgres"), nobody)
	if got := query(t, url, write...); got != "42" {
		t.Errorf("data: %s", got)
	}
}
