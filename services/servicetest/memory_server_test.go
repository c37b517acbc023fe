package servicetest_test

import (
	"bufio"
	"encoding/json"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
)

// memoryServer is a server for a backend to administer: a map behind a TCP
// port, one JSON object a line each way. Its administrator puts, gets, lists
// and deletes keys; applications log in and read and write what is theirs.
type memoryServer struct {
	listener net.Listener
	wait     sync.WaitGroup

	mu    sync.Mutex
	keys  map[string]string
	conns map[net.Conn]string // the application's user, or ""
}

type request struct {
	Op, Token, Key, Value    string
	Instance, User, Password string
}

type response struct {
	Error, Value string
	Keys         []string
}

// account is a binding on the server, under binding/<instance>/<binding>.
type account struct {
	Password string
	ReadOnly bool
}

const adminToken = "administrators-token"

func startMemoryServer(t *testing.T) *memoryServer {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &memoryServer{listener: listener, keys: map[string]string{}, conns: map[net.Conn]string{}}
	s.wait.Go(s.accept)
	t.Cleanup(func() {
		_ = listener.Close()
		s.mu.Lock()
		for c := range s.conns {
			_ = c.Close()
		}
		s.mu.Unlock()
		s.wait.Wait()
	})
	return s
}

func (s *memoryServer) accept() {
	for {
		c, err := s.listener.Accept()
		if err != nil {
			return
		}
		s.mu.Lock()
		s.conns[c] = ""
		s.mu.Unlock()
		s.wait.Go(func() { s.serve(c) })
	}
}

func (s *memoryServer) serve(c net.Conn) {
	defer func() {
		s.mu.Lock()
		delete(s.conns, c)
		s.mu.Unlock()
		_ = c.Close()
	}()
	in, out := bufio.NewScanner(c), json.NewEncoder(c)
	var login request
	for in.Scan() {
		var r request
		if json.Unmarshal(in.Bytes(), &r) != nil {
			return
		}
		answer := s.answer(c, &login, r)
		if out.Encode(answer) != nil || answer.Error == "not logged in" {
			return
		}
	}
}

func (s *memoryServer) answer(c net.Conn, login *request, r request) response {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r.Token != "" {
		return s.administer(r)
	}
	if r.Op == "login" {
		return s.login(c, login, r)
	}
	if login.User == "" {
		return response{Error: "not logged in"}
	}
	data := "data/" + login.Instance + "/" + r.Key
	switch r.Op {
	case "write":
		if login.Value == readOnlySession {
			return response{Error: "read-only"}
		}
		s.keys[data] = r.Value
	case "password":
		s.changePassword(login, r.Password)
	case "read":
		value, ok := s.keys[data]
		if !ok {
			return response{Error: "no such key"}
		}
		return response{Value: value}
	}
	return response{}
}

// readOnlySession marks the login of an account that only reads.
const readOnlySession = "read-only"

// login checks an account once. Like those of most servers, the session then lives until
// something ends it.
func (s *memoryServer) login(c net.Conn, login *request, r request) response {
	user := "binding/" + r.Instance + "/" + r.User
	var a account
	if json.Unmarshal([]byte(s.keys[user]), &a) != nil || a.Password != r.Password || a.Password == "" {
		return response{Error: "not logged in"}
	}
	sessions := 0
	for _, other := range s.conns {
		if strings.HasPrefix(other, "binding/"+r.Instance+"/") {
			sessions++
		}
	}
	if sessions >= len(s.keys["quota/"+r.Instance]) {
		return response{Error: "not logged in"}
	}
	*login, s.conns[c] = r, user
	if a.ReadOnly {
		login.Value = readOnlySession
	}
	return response{}
}

// changePassword changes the password of the application's own account.
func (s *memoryServer) changePassword(login *request, password string) {
	user := "binding/" + login.Instance + "/" + login.User
	changed, err := json.Marshal(account{Password: password, ReadOnly: login.Value == readOnlySession})
	if err == nil {
		s.keys[user] = string(changed)
	}
}

func (s *memoryServer) administer(r request) response {
	if r.Token != adminToken {
		return response{Error: "wrong token"}
	}
	switch r.Op {
	case "put":
		s.keys[r.Key] = r.Value
	case "get":
		return response{Value: s.keys[r.Key]}
	case "list":
		var keys []string
		for k := range s.keys {
			if strings.HasPrefix(k, r.Key) {
				keys = append(keys, k)
			}
		}
		slices.Sort(keys)
		return response{Keys: keys}
	case "delete":
		for k := range s.keys {
			if k == r.Key || strings.HasSuffix(r.Key, "/") && strings.HasPrefix(k, r.Key) {
				delete(s.keys, k)
			}
		}
	case "kill":
		for c, user := range s.conns {
			if user != "" && strings.HasPrefix(user, r.Key) {
				_ = c.Close()
			}
		}
	}
	return response{}
}

// holding returns the keys whose names contain one of the parts.
func (s *memoryServer) holding(parts []string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var keys []string
	for k := range s.keys {
		if slices.ContainsFunc(parts, func(p string) bool { return strings.Contains(k, p) }) {
			keys = append(keys, k)
		}
	}
	return keys
}
