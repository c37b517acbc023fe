package embedded

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// rabbitFolder makes this test binary's TestRabbitMQParent a parent of a server
// in the named folder: one that tests can kill.
const rabbitFolder = "EMBEDDED_TEST_RABBITMQ_FOLDER"

const rabbitPatience = 2 * time.Minute

func needRabbitMQ(t *testing.T) {
	t.Helper()
	switch _, err := findRabbitMQ(); {
	case err != nil && os.Getenv("CI") == "true":
		t.Fatal(err)
	case err != nil:
		t.Skip(err)
	}
}

func startRabbitMQ(t *testing.T, dir string) *RabbitMQ {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), rabbitPatience)
	defer cancel()
	s, err := StartRabbitMQ(ctx, Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		s.Kill()
		if err := s.Stop(context.Background()); err != nil { // t's context has ended in a cleanup
			t.Error(err)
		}
	})
	return s
}

// vhost asks for the virtual host "kept", or makes it, and returns the status.
func vhost(t *testing.T, base, method string) int {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, base+"/api/vhosts/kept", strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	return answer.StatusCode
}

func expectKept(t *testing.T, s *RabbitMQ) {
	t.Helper()
	if got := vhost(t, s.URL(), http.MethodGet); got != http.StatusOK {
		t.Fatalf("the virtual host is gone: %d", got)
	}
	if !listens(t.Context(), net.JoinHostPort(s.Host(), strconv.Itoa(s.Port()))) {
		t.Fatal("the port of applications is closed")
	}
}

// One story, because a start takes seconds.
func TestRabbitMQ(t *testing.T) {
	needRabbitMQ(t)
	dir := filepath.Join(reachable(t), "it's a rabbit")
	first := startRabbitMQ(t, dir)
	if got := vhost(t, first.URL(), http.MethodPut); got != http.StatusCreated {
		t.Fatalf("make a virtual host: %d", got)
	}
	expectKept(t, first)
	expectClosed(t, first)
	if _, err := StartRabbitMQ(t.Context(), Options{Dir: dir}); err == nil || !strings.Contains(err.Error(), "is in use by process") {
		t.Fatalf("a second server on the same folder: %v", err)
	}

	first.Kill()
	if err := <-first.Done(); err == nil || !strings.Contains(err.Error(), "killed") {
		t.Fatalf("Done after a kill: %v", err)
	}
	expectNoHolders(t, dir)
	if err := first.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	expectKept(t, first)

	if err := first.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err, ok := <-first.Done(); ok {
		t.Fatalf("Done after Stop: %v", err)
	}
	expectNoHolders(t, dir)
	if err := first.Restart(t.Context()); err == nil {
		t.Fatal("restarted after Stop")
	}

	second := startRabbitMQ(t, dir)
	if second.URL() != first.URL() || second.Port() != first.Port() {
		t.Error("the second start is elsewhere than the first")
	}
	expectKept(t, second)
}

// expectClosed shows that everything is on loopback and that the folder's files
// are for their owner alone.
func expectClosed(t *testing.T, s *RabbitMQ) {
	t.Helper()
	for _, name := range []string{rabbitPasswordFile, rabbitConfigFile, rabbitCookieFile, rabbitLog} {
		info, err := os.Stat(s.folder.path(name))
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", name, info, err)
		}
	}
	for _, pid := range holders(s.folder.root) {
		arguments, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "cmdline"))
		if err != nil || strings.Contains(string(arguments), s.password) {
			t.Errorf("process %d: the password is in the arguments, or %v", pid, err)
		}
	}
	addresses, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range addresses {
		network, ok := a.(*net.IPNet)
		if !ok || network.IP.IsLoopback() {
			continue
		}
		for _, port := range []int{s.port, s.management} {
			if listens(t.Context(), net.JoinHostPort(network.IP.String(), strconv.Itoa(port))) {
				t.Errorf("port %d is open on %s", port, network.IP)
			}
		}
	}
}

func expectNoHolders(t *testing.T, dir string) {
	t.Helper()
	eventually(t, "nothing works in the folder", func() bool { return len(holders(dir)) == 0 })
}

func TestRabbitMQAfterItsParentWasKilled(t *testing.T) {
	needRabbitMQ(t)
	dir := t.TempDir()
	cmd := exec.Command(os.Args[0], "-test.run=^TestRabbitMQParent$", "-test.v")
	cmd.Env = append(os.Environ(), rabbitFolder+"="+dir)
	said, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var where string
	for lines := bufio.NewScanner(said); where == "" && lines.Scan(); {
		where, _ = strings.CutPrefix(lines.Text(), "url=")
		if !strings.HasPrefix(where, "http") {
			where = ""
		}
	}
	if where == "" {
		t.Fatal("the parent started no server")
	}
	if got := vhost(t, where, http.MethodPut); got != http.StatusCreated {
		t.Fatalf("make a virtual host: %d", got)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // it was killed
	s := startRabbitMQ(t, dir)
	if s.URL() != where {
		t.Error("the next start is elsewhere")
	}
	expectKept(t, s)
}

func TestRabbitMQParent(t *testing.T) {
	dir := os.Getenv(rabbitFolder)
	if dir == "" {
		t.Skip("this is the parent in TestRabbitMQAfterItsParentWasKilled")
	}
	ctx, cancel := context.WithTimeout(t.Context(), rabbitPatience)
	defer cancel()
	s, err := StartRabbitMQ(ctx, Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	fmt.Println("\nurl=" + s.URL())
	select {}
}

func TestRabbitMQAfterAnInterruptedFirstStart(t *testing.T) {
	needRabbitMQ(t)
	dir := t.TempDir()
	ctx, interrupt := context.WithCancel(t.Context())
	defer interrupt()
	go func() { // the server writes long before it serves
		for ctx.Err() == nil {
			if written, _ := os.ReadDir(filepath.Join(dir, dataFolder)); len(written) > 0 {
				interrupt()
			}
			time.Sleep(10 * time.Millisecond)
		}
	}()
	_, err := StartRabbitMQ(ctx, Options{Dir: dir})
	if !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "did not become ready in time") {
		t.Fatal(err)
	}
	s := startRabbitMQ(t, dir)
	if got := vhost(t, s.URL(), http.MethodPut); got != http.StatusCreated {
		t.Fatalf("the administrator cannot make a virtual host: %d", got)
	}
}

func TestRabbitMQOnATakenPort(t *testing.T) {
	needRabbitMQ(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	port := l.Addr().(*net.TCPAddr).Port
	for _, file := range []string{portFile, rabbitManagementFile} {
		t.Run(file, func(t *testing.T) {
			if _, err := StartRabbitMQ(t.Context(), Options{Dir: withPort(t, t.TempDir(), file, port)}); err == nil || !strings.Contains(err.Error(), "cannot be listened on") {
				t.Errorf("%v", err)
			}
		})
	}
}
