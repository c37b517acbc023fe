package trove

import (
	"bytes"
	"crypto/sha1" //nolint:gosec // the protocol's
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"testing"
	"time"

	"github.com/chandler-broker/chandler/services"
)

// heldLogin is a login that a hostile client began and does not complete: the server has read the
// user's password, and waits for the client's answer to its request for another authentication
// method (MariaDB documentation, "Connecting").
type heldLogin struct {
	net.Conn
	salt     []byte
	sequence byte
}

func holdLogin(t *testing.T, c services.Credentials) *heldLogin {
	t.Helper()
	u := parsed(t, c.Values["uri"].(string))
	conn, err := (&net.Dialer{}).DialContext(testContext(t), "tcp", u.Host)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	h := &heldLogin{Conn: conn}
	if _, err := h.read(); err != nil { // the greeting
		t.Fatal(err)
	}
	const protocol41, secure, plugins = 0x200, 0x8000, 0x80000
	var hello bytes.Buffer
	_ = binary.Write(&hello, binary.LittleEndian, []uint32{protocol41 | secure | plugins, 1 << 24})
	hello.WriteByte(45) // utf8mb4_general_ci
	hello.Write(make([]byte, 23))
	hello.WriteString(u.User.Username() + "\x00\x00client_ed25519\x00")
	h.write(t, hello.Bytes())
	other, err := h.read()
	if err != nil || len(other) < 21 || other[0] != 0xfe {
		t.Fatalf("the server does not ask for another method: %q, %v", other, err)
	}
	h.salt = bytes.TrimSuffix(other, []byte{0})
	h.salt = h.salt[len(h.salt)-20:]
	return h
}

func (h *heldLogin) read() ([]byte, error) {
	_ = h.SetDeadline(time.Now().Add(time.Minute))
	head := make([]byte, 4)
	if _, err := io.ReadFull(h, head); err != nil {
		return nil, err
	}
	h.sequence = head[3] + 1
	body := make([]byte, int(head[0])|int(head[1])<<8|int(head[2])<<16)
	_, err := io.ReadFull(h, body)
	return body, err
}

func (h *heldLogin) write(t *testing.T, body []byte) {
	t.Helper()
	head := []byte{byte(len(body)), byte(len(body) >> 8), byte(len(body) >> 16), h.sequence}
	_, _ = h.Write(append(head, body...)) // the answer says whether the server has closed
}

// completes says whether the server lets the client in.
func (h *heldLogin) completes(t *testing.T, password string) bool {
	t.Helper()
	once := sha1.Sum([]byte(password))                           //nolint:gosec // the protocol's
	twice := sha1.Sum(once[:])                                   //nolint:gosec // the protocol's
	answer := sha1.Sum(append(bytes.Clone(h.salt), twice[:]...)) //nolint:gosec // the protocol's
	for i := range answer {
		answer[i] ^= once[i]
	}
	h.write(t, answer[:])
	result, err := h.read()
	return err == nil && len(result) > 0 && result[0] == 0
}

// runs says whether the server runs a statement.
func (h *heldLogin) runs(t *testing.T, statement string) bool {
	t.Helper()
	h.sequence = 0
	h.write(t, append([]byte{3}, statement...))
	result, err := h.read()
	return err == nil && len(result) > 0 && result[0] == 0
}

// A login that began before the unbind and is completed after it leads to nothing.
func testHeldLogins(t *testing.T, _ *testCloud, b *backend, inst instance) {
	bd, credentials := bound(t, b, inst, "0")
	insert := fmt.Sprintf("INSERT INTO %s.held VALUES (1)", databaseName(inst.Name))
	dialled(t, credentials).must(t, "CREATE TABLE held (n INT)")
	password := credentials.Values["password"].(string)
	if h := holdLogin(t, credentials); !h.completes(t, password) || !h.runs(t, insert) {
		t.Fatal("the test cannot log in")
	}
	h := holdLogin(t, credentials)
	unbound(t, b, inst, bd)
	if h.completes(t, password) && h.runs(t, insert) {
		t.Error("a login of a removed binding works")
	}
	definer, credentials := bound(t, b, inst, "held definer")
	dialled(t, credentials).must(t, "CREATE VIEW held_view AS SELECT n FROM held")
	password = credentials.Values["password"].(string)
	h, late := holdLogin(t, credentials), holdLogin(t, credentials)
	completed := make(chan struct{})
	time.AfterFunc(5*time.Second, func() { // while the broker waits
		_ = h.completes(t, password)
		close(completed)
	})
	unbound(t, b, inst, definer)
	<-completed
	if late.completes(t, password) && late.runs(t, insert) {
		t.Error("a login of a user that stays for its view works")
	}
	if h.runs(t, insert) {
		t.Error("a login that was completed during the unbind works")
	}
}
