package embedded

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"
	natsserver "github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nkeys"
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
	answer, err := conn.Request(subject, nil, 30*time.Second)
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
	for _, secret := range []string{n.keys.Signer, n.keys.User} {
		if len(secret) != 58 || bytes.Contains(text, []byte(secret)) {
			t.Error("the log contains a key, or does not exist")
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
	if _, err := StartNATS(t.Context(), NATSOptions{Dir: withPort(t, t.TempDir(), portFile, taken.nodes[0].options.Port)}); err == nil || !strings.Contains(err.Error(), "ss -lntup") {
		t.Errorf("a port that is taken: %v", err)
	}
	if _, err := os.Stat(filepath.Join(dir, natsOperatorFile)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a folder of damaged keys was filled: %v", err)
	}
}

// A cluster of three works with two, and takes the third one back: when StartNode
// returns the leader counts on all of them again, so that the next one may go.
func TestNATSClusterLosesAServer(t *testing.T) {
	n := runNATS(t, NATSOptions{Dir: t.TempDir(), Nodes: 3})
	for lost := range n.nodes {
		n.StopNode(lost)
		n.waitForLeader(t)
		if err := n.StartNode(t.Context(), lost); err != nil {
			t.Fatal(err)
		}
		meta := n.waitForLeader(t)
		if len(meta.Replicas) != 2 || meta.Size != 3 {
			t.Errorf("after the return of %s: %s", n.nodes[lost].options.ServerName, n.views())
		}
		for _, peer := range meta.Replicas {
			if peer.Offline { // "current" comes and goes with each thing that is written
				t.Errorf("after the return of %s the leader calls %s offline: %s", n.nodes[lost].options.ServerName, peer.Name, n.views())
			}
		}
	}
}

// Without a majority, the servers elect no leader.
func TestNATSClusterStartsOneByOne(t *testing.T) {
	n := runNATS(t, NATSOptions{Dir: t.TempDir(), Nodes: 3})
	for i := range n.nodes {
		n.StopNode(i)
	}
	for i := range n.nodes {
		if err := n.StartNode(t.Context(), i); err != nil {
			t.Fatal(err)
		}
	}
	n.waitForLeader(t)
}

// waitForLeader waits until the cluster's leader answers and returns what it
// says of the cluster. An election may need several rounds of up to nine seconds.
func (n *NATS) waitForLeader(t *testing.T) *natsserver.MetaClusterInfo {
	t.Helper()
	conn, err := nats.Connect(n.URL(), nats.UserCredentials(n.SystemCredsFile()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	var answer struct {
		Data natsserver.JSInfo `json:"data"`
	}
	for end := time.Now().Add(time.Minute); time.Now().Before(end); {
		said, err := conn.Request("$SYS.REQ.SERVER.PING.JSZ", []byte(`{"leader_only":true}`), 2*time.Second)
		if err != nil {
			continue
		}
		if err := json.Unmarshal(said.Data, &answer); err != nil || answer.Data.Meta == nil {
			t.Fatalf("the leader says %s, %v", said.Data, err)
		}
		return answer.Data.Meta
	}
	t.Fatal("the cluster has no leader: ", n.views())
	return nil
}

// natsParentFolder makes TestNATSParent the parent of servers in the named
// folder.
const natsParentFolder = "EMBEDDED_TEST_NATS_FOLDER"

// TestNATSParent is no test of its own: it is the process that
// TestNATSSurvivesItsParent kills.
func TestNATSParent(t *testing.T) {
	dir := os.Getenv(natsParentFolder)
	if dir == "" {
		t.Skip("run by TestNATSSurvivesItsParent")
	}
	n := runNATS(t, NATSOptions{Dir: dir})
	tenant := n.tenant(t)
	if _, err := tenant.CreateStream(t.Context(), jetstream.StreamConfig{Name: "KEPT", Subjects: []string{"kept"}}); err != nil {
		t.Fatal(err)
	}
	if _, err := tenant.Publish(t.Context(), "kept", []byte("before the crash")); err != nil {
		t.Fatal(err)
	}
	fmt.Println(n.URL())
	select {}
}

// tenant makes an account and connects as a user of it, whose keys derive from
// the operator's in the simplest way.
func (n *NATS) tenant(t *testing.T) jetstream.JetStream {
	t.Helper()
	raw := sha256.Sum256([]byte(n.keys.Signer))
	var pairs [2]nkeys.KeyPair
	var public [2]string
	for i, prefix := range []nkeys.PrefixByte{nkeys.PrefixByteAccount, nkeys.PrefixByteUser} {
		var err error
		if pairs[i], err = nkeys.FromRawSeed(prefix, raw[:]); err != nil {
			t.Fatal(err)
		}
		if public[i], err = pairs[i].PublicKey(); err != nil {
			t.Fatal(err)
		}
	}
	account, user := jwt.NewAccountClaims(public[0]), jwt.NewUserClaims(public[1])
	account.SigningKeys.Add(public[0])
	account.Limits.DiskStorage = 1 << 20
	user.IssuerAccount = public[0]
	operator, err := nkeys.FromSeed([]byte(n.keys.Signer))
	if err != nil {
		t.Fatal(err)
	}
	accountJWT, err := account.Encode(operator)
	if err != nil {
		t.Fatal(err)
	}
	userJWT, err := user.Encode(pairs[0])
	if err != nil {
		t.Fatal(err)
	}
	seed, err := pairs[1].Seed()
	if err != nil {
		t.Fatal(err)
	}
	n.tell(t, accountJWT)
	conn, err := nats.Connect(n.URL(), nats.UserJWTAndSeed(userJWT, string(seed)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	js, err := jetstream.New(conn)
	if err != nil {
		t.Fatal(err)
	}
	return js
}

func (n *NATS) tell(t *testing.T, account string) {
	t.Helper()
	conn, err := nats.Connect(n.URL(), nats.UserCredentials(n.SystemCredsFile()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	answer, err := conn.Request("$SYS.REQ.CLAIMS.UPDATE", []byte(account), 30*time.Second)
	if err != nil || !bytes.Contains(answer.Data, []byte("jwt updated")) {
		t.Fatalf("the account: %s, %v", answer.Data, err)
	}
}

// What a stream confirmed is there after a kill -9, and so is the account.
func TestNATSSurvivesItsParent(t *testing.T) {
	dir := t.TempDir()
	parent := exec.Command(os.Args[0], "-test.run=^TestNATSParent$")
	parent.Env = append(os.Environ(), natsParentFolder+"="+dir)
	out, err := parent.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := parent.Start(); err != nil {
		t.Fatal(err)
	}
	url, err := bufio.NewReader(out).ReadString('\n')
	url = strings.TrimSpace(url)
	if err != nil || !strings.HasPrefix(url, "nats://127.0.0.1:") {
		_ = parent.Process.Kill()
		t.Fatalf("the parent says %q, %v", url, err)
	}
	if err := parent.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = parent.Wait() // it was killed
	second := runNATS(t, NATSOptions{Dir: dir})
	if second.URL() != url {
		t.Errorf("the second start is at %s, the first was at %s", second.URL(), url)
	}
	stream, err := second.tenant(t).Stream(t.Context(), "KEPT")
	if err != nil {
		t.Fatal(err)
	}
	if m, err := stream.GetLastMsgForSubject(t.Context(), "kept"); err != nil || string(m.Data) != "before the crash" {
		t.Errorf("%v, %v", m, err)
	}
}
