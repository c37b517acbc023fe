package embedded

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
)

// runNATS starts servers that end with the test.
func runNATS(t *testing.T, o NATSOptions) *NATS {
	t.Helper()
	n, err := StartNATS(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Stop(t.Context()); err != nil {
			t.Error(err)
		}
	})
	return n
}

// asks connects as the system account's user and makes one request.
func (n *NATS) asks(t *testing.T, subject string) (string, error) {
	t.Helper()
	conn, err := nats.Connect(n.URL(), nats.UserCredentials(n.SystemCredsFile()))
	if err != nil {
		return "", err
	}
	defer conn.Close()
	answer, err := conn.Request(subject, nil, 5*time.Second)
	if err != nil {
		return "", err
	}
	return string(answer.Data), nil
}

func TestNATSGoesOnWithItsFolder(t *testing.T) {
	dir := t.TempDir()
	first := runNATS(t, NATSOptions{Dir: dir})
	creds, err := os.ReadFile(first.SystemCredsFile())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := StartNATS(t.Context(), NATSOptions{Dir: dir}); err == nil || !strings.Contains(err.Error(), "in use by process") {
		t.Fatalf("a second one in the same folder: %v", err)
	}
	url := first.URL()
	if err := first.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := first.asks(t, "$SYS.REQ.SERVER.PING"); err == nil {
		t.Fatal("it still answers")
	}
	second := runNATS(t, NATSOptions{Dir: dir})
	if second.URL() != url {
		t.Errorf("the second start is at %s, the first was at %s", second.URL(), url)
	}
	if again, err := os.ReadFile(second.SystemCredsFile()); err != nil || !bytes.Equal(creds, again) {
		t.Errorf("other credentials than at the first start, %v", err)
	}
	if answer, err := second.asks(t, "$SYS.REQ.SERVER.PING"); err != nil || !strings.Contains(answer, `"jetstream":true`) {
		t.Errorf("it answers %q, %v", answer, err)
	}
}

func TestNATSKeepsItsKeysToItself(t *testing.T) {
	n := runNATS(t, NATSOptions{Dir: t.TempDir()})
	if info, err := os.Stat(n.folder.root); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the folder: %v, %v", info.Mode(), err)
	}
	for _, file := range []string{n.OperatorSeedFile(), n.SystemCredsFile(), n.folder.path(natsKeysFile), n.log.Name()} {
		if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", file, info.Mode(), err)
		}
	}
	text, err := os.ReadFile(n.log.Name())
	if err != nil {
		t.Fatal(err)
	}
	for _, secret := range []string{n.keys.Operator, n.keys.Signer, n.keys.Account, n.keys.AccountSigner, n.keys.User} {
		if len(secret) != 58 || bytes.Contains(text, []byte(secret)) {
			t.Error("the log holds a key, or there is none")
		}
	}
	if conn, err := nats.Connect(n.URL()); err == nil {
		conn.Close()
		t.Error("it lets anybody in")
	}
}

func TestNATSSaysWhatIsWrongWithItsFolder(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, natsKeysFile), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := StartNATS(t.Context(), NATSOptions{Dir: dir}); err == nil || !strings.Contains(err.Error(), natsKeysFile) {
		t.Errorf("damaged keys: %v", err)
	}
	taken := runNATS(t, NATSOptions{Dir: t.TempDir()})
	if _, err := StartNATS(t.Context(), NATSOptions{Dir: t.TempDir(), Port: taken.nodes[0].options.Port}); err == nil || !strings.Contains(err.Error(), "ss -ltnp") {
		t.Errorf("a port that is taken: %v", err)
	}
	if _, err := os.Stat(filepath.Join(dir, natsOperatorFile)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a folder of damaged keys was filled: %v", err)
	}
}

// A cluster of three works with two, and takes the third one back.
func TestNATSClusterLosesAServer(t *testing.T) {
	n := runNATS(t, NATSOptions{Dir: t.TempDir(), Nodes: 3})
	for lost := range n.nodes {
		n.StopNode(lost)
		n.waitForLeader(t)
		if err := n.StartNode(t.Context(), lost); err != nil {
			t.Fatal(err)
		}
	}
	if answer := n.waitForLeader(t); !strings.Contains(answer, `"cluster_size":3`) {
		t.Errorf("the leader says %s", answer)
	}
}

// waitForLeader waits until the cluster's leader answers and returns what it
// says.
func (n *NATS) waitForLeader(t *testing.T) string {
	t.Helper()
	conn, err := nats.Connect(n.URL(), nats.UserCredentials(n.SystemCredsFile()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); {
		if answer, err := conn.Request("$SYS.REQ.SERVER.PING.JSZ", []byte(`{"leader_only":true}`), 200*time.Millisecond); err == nil {
			return string(answer.Data)
		}
	}
	t.Fatal("the cluster has no leader")
	return ""
}
