package smb

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/chandler-broker/chandler/embedded"
	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/servicetest"
)

// verbs are all calls of a backend that go to the server.
func verbs(b *backend, inst instance, bd binding) map[string]func(context.Context) error {
	return map[string]func(context.Context) error{
		"ready":       b.Ready,
		"provision":   func(ctx context.Context) error { return servicetest.Once(b).Provision(ctx, inst) },
		"update":      func(ctx context.Context) error { return servicetest.Once(b).Update(ctx, inst, inst) },
		"bind":        func(ctx context.Context) error { _, err := servicetest.Once(b).Bind(ctx, inst, bd); return err },
		"unbind":      func(ctx context.Context) error { return servicetest.Once(b).Unbind(ctx, inst, bd) },
		"deprovision": func(ctx context.Context) error { return servicetest.Once(b).Deprovision(ctx, inst) },
	}
}

func checkFault(t *testing.T, verb string, bd binding, err error) {
	t.Helper()
	if err == nil {
		t.Errorf("%s: succeeded", verb)
		return
	}
	if message, refused := services.IsRejected(err); refused {
		t.Errorf("%s: reported as the user's error: %s", verb, message)
	}
	if bd.Seed.Scrub(err.Error()) != err.Error() {
		t.Errorf("%s: the error holds the password: %v", verb, err)
	}
	if len(err.Error()) > 1000 {
		t.Errorf("%s: the error has %d characters", verb, len(err.Error()))
	}
}

// interposed is a folder of programs that do what body says and may run the real
// program with "$real" "$@".
func (s *testServer) interposed(t *testing.T, body string) string {
	t.Helper()
	dir := t.TempDir()
	for _, tool := range []string{"net", "pdbedit", "smbcontrol", "smbpasswd", "smbstatus", "testparm"} {
		script := "#!/bin/sh\nhere=" + dir + "\nreal=" + filepath.Join(s.ProgramsFolder(), tool) + "\n" + body + "\n"
		if err := embedded.WriteProgram(filepath.Join(dir, tool), strings.NewReader(script)); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func (s *testServer) withPrograms(t *testing.T, dir string) *backend {
	t.Helper()
	return s.backend(t, "c", map[string]any{"programs": dir})
}

// dying programs count themselves, and from the one called $(cat at) on none
// does anything, as if the broker had died there: before it, or just after it.
const dying = `exec 9>"$here/lock"; flock 9
n=$(($(cat "$here/count") + 1)); echo $n >"$here/count"
exec 9>&-
at=$(cat "$here/at")
[ $n -gt $at ] && exit 9
[ $n -eq $at ] && [ "$(cat "$here/when")" = before ] && exit 9
"$real" "$@"; status=$?
[ $n -eq $at ] && exit 9
exit $status`

// mortal is a backend that dies at a program.
type mortal struct {
	*backend
	dir string
}

func (s *testServer) mortal(t *testing.T) *mortal {
	dir := s.interposed(t, dying)
	return &mortal{s.withPrograms(t, dir), dir}
}

func (m *mortal) arm(t *testing.T, at int, when string) {
	t.Helper()
	for name, value := range map[string]string{"count": "0", "at": strconv.Itoa(at), "when": when} {
		if err := os.WriteFile(filepath.Join(m.dir, name), []byte(value), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// died says whether as many programs were called.
func (m *mortal) died(t *testing.T, at int) bool {
	t.Helper()
	n, err := strconv.Atoi(readLines(t, filepath.Join(m.dir, "count"))[0])
	if err != nil {
		t.Fatal(err)
	}
	return n >= at
}

// A broker dies before or after any program that a verb runs. Repeating the verb, or
// undoing it, leads to the same state as ever.
func TestDiesAtAnyProgram(t *testing.T) {
	server := newServer(t)
	whole, victim := server.backend(t, "c"), server.mortal(t)
	for verb, programs := range map[string]int{"provision": 1, "bind": 3, "unbind": 4, "deprovision": 7} {
		// What is there before a program is what was there after the one before.
		t.Run(verb, func(t *testing.T) {
			at := 1
			for dieAt(t, server, whole, victim, verb, "before", at, at%2 == 0) {
				at++
			}
			if at-1 != programs {
				t.Errorf("%d programs, not %d", at-1, programs)
			}
			dieAt(t, server, whole, victim, verb, "after", at-1, at%2 == 0)
		})
	}
}

// dieAt lets verb die at a program and goes on; it returns whether there are as
// many.
func dieAt(t *testing.T, server *testServer, whole *backend, victim *mortal, verb, when string, at int, undo bool) bool {
	t.Helper()
	inst := newInstance(fmt.Sprint(verb, when, at), func(i *instance) { i.Plan.DeleteContents = true })
	bd, other := newBinding(t, inst, "b", BindingParams{}), newBinding(t, inst, "other", BindingParams{})
	call := func(b *backend, verb string) error {
		return finished(t, func() error { return verbs(b, inst, bd)[verb](testContext(t)) })
	}
	var c, kept services.Credentials
	var live *session
	if verb != "provision" {
		provisioned(t, whole, inst.ID, func(i *instance) { *i = inst })
		kept = bound(t, whole, inst, other)
	}
	if verb == "unbind" || verb == "deprovision" {
		c = bound(t, whole, inst, bd)
		live = dialled(t, c.Values)
	}
	victim.arm(t, at, when)
	err := call(victim.backend, verb)
	died := victim.died(t, at)
	if (err != nil) != died {
		t.Fatalf("at %d: %v", at, err)
	}
	if died {
		checkFault(t, verb, bd, err)
	}
	opposite := map[string]string{"provision": "deprovision", "bind": "unbind"}[verb]
	if undo && opposite != "" {
		verb = opposite
	}
	if err := call(whole, verb); err != nil {
		t.Fatalf("at %d, then %s: %v", at, verb, err)
	}
	switch verb {
	case "provision":
		dialled(t, bound(t, whole, inst, bd).Values).mustWrite(t, "key", "value")
	case "bind":
		dialled(t, bound(t, whole, inst, bd).Values).mustWrite(t, "key", "value")
	case "unbind":
		if live != nil && live.Ping(testContext(t)) == nil {
			t.Errorf("at %d: the session goes on", at)
		}
		if left, err := server.leftOf(testContext(t), bd.Name, nil); len(left) > 0 || err != nil {
			t.Errorf("at %d: left: %v, %v", at, left, err)
		}
	case "deprovision":
		nothingLeft(t, server, inst, bd, other)
	}
	if verb == "bind" || verb == "unbind" {
		dialled(t, kept.Values).mustWrite(t, "kept", "value")
	}
	if err := call(whole, "deprovision"); err != nil {
		t.Fatal(err)
	}
	nothingLeft(t, server, inst, bd, other)
	return died
}

// Programs that fail, print nonsense or hang cause an error for the operator in time, and
// leave nothing behind.
func TestProgramsFail(t *testing.T) {
	server := newServer(t)
	whole := server.backend(t, "c")
	for name, body := range map[string]string{
		"fails":       `echo "something is broken: $*" >&2; exit 1`,
		"says much":   `head -c 100000 /dev/zero | tr '\0' x; exit 1`,
		"is killed":   `kill -9 $$`,
		"says it all": `cat; exit 1`, // the password, too, where one is given
		"hangs":       `exec sleep 60`,
	} {
		t.Run(name, func(t *testing.T) {
			broken := server.withPrograms(t, server.interposed(t, body))
			inst := newInstance(name, func(i *instance) { i.Plan.DeleteContents = true })
			provisioned(t, whole, name, func(i *instance) { *i = inst })
			bd := newBinding(t, inst, "b", BindingParams{})
			c := bound(t, whole, inst, bd)
			for verb, call := range verbs(broken, inst, bd) {
				ctx, cancel := testContext(t), context.CancelFunc(func() {})
				if name == "hangs" {
					ctx, cancel = context.WithTimeout(ctx, 200*time.Millisecond)
				}
				began := time.Now()
				err := call(ctx)
				cancel()
				checkFault(t, verb, bd, err)
				if name == "hangs" && (!errors.Is(err, context.DeadlineExceeded) || time.Since(began) > 10*time.Second) {
					t.Errorf("%s: %v after %s", verb, err, time.Since(began))
				}
			}
			// The half-done unbind ends with the bind, which is repeated.
			err := finished(t, func() (err error) { c, err = servicetest.Once(whole).Bind(testContext(t), inst, bd); return err })
			if err != nil {
				t.Fatal(err)
			}
			dialled(t, c.Values).mustWrite(t, "key", "value")
			if err := finished(t, func() error { return servicetest.Once(whole).Deprovision(testContext(t), inst) }); err != nil {
				t.Fatal(err)
			}
			nothingLeft(t, server, inst, bd)
		})
	}
}

// Programs that end well and print nonsense.
func TestNonsense(t *testing.T) {
	server := newServer(t)
	b := server.withPrograms(t, server.interposed(t, `echo "<html>welcome</html>"`))
	inst := newInstance("i", nil)
	bd := newBinding(t, inst, "b", BindingParams{})
	checkFault(t, "ready", bd, b.Ready(testContext(t)))
	checkFault(t, "provision", bd, servicetest.Once(b).Provision(testContext(t), inst))
	checkFault(t, "bind", bd, verbs(b, inst, bd)["bind"](testContext(t)))
	checkFault(t, "unbind", bd, servicetest.Once(b).Unbind(testContext(t), inst, bd))
	checkFault(t, "deprovision", bd, servicetest.Once(b).Deprovision(testContext(t), inst))
	if err := finished(t, func() error { return servicetest.Once(server.backend(t, "c")).Deprovision(testContext(t), inst) }); err != nil {
		t.Fatal(err)
	}
	nothingLeft(t, server, inst, bd)
}

// The server at the address is not an SMB server, or never answers.
func TestWrongServer(t *testing.T) {
	server := newServer(t)
	say := make(chan string, 100)
	address := servicetest.Listen(t, func(c net.Conn) {
		servicetest.Says(<-say)(c)
		servicetest.Hangs(c)
	})
	b := server.backend(t, "c", map[string]any{"address": address})
	inst := newInstance("i", nil)
	bd := newBinding(t, inst, "b", BindingParams{})
	for verb, call := range verbs(b, inst, bd) {
		say <- "HTTP/1.1 400 Bad Request\r\n\r\n"
		err := call(testContext(t))
		checkFault(t, verb, bd, err)
		expect(t, err, "did not come from an SMB server")
		say <- ""
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		checkFault(t, verb, bd, call(ctx))
		cancel()
	}
	nothingLeft(t, server, inst, bd)
}

// After a restart of Samba only sessions are lost, and verbs that failed meanwhile can be
// repeated.
func TestRestart(t *testing.T) {
	server, ctx := newServer(t), testContext(t)
	b := server.backend(t, "c")
	inst := provisioned(t, b, "i", func(i *instance) { i.Plan.DeleteContents = true })
	going, staying := newBinding(t, inst, "going", BindingParams{}), newBinding(t, inst, "staying", BindingParams{})
	gone, c := bound(t, b, inst, going), bound(t, b, inst, staying)
	dialled(t, c.Values).mustWrite(t, "key", "value")
	server.Kill()
	for verb, call := range verbs(b, inst, going) {
		err := call(ctx)
		checkFault(t, verb, going, err)
		expect(t, err, "samba does not answer")
	}
	if err := server.Restart(ctx); err != nil {
		t.Fatal(err)
	}
	if err := finished(t, func() error { return servicetest.Once(b).Unbind(testContext(t), inst, going) }); err != nil {
		t.Fatal(err)
	}
	if _, err := dial(ctx, gone.Values); err == nil {
		t.Error("the revoked credentials work")
	}
	if got, err := dialled(t, c.Values).Read(ctx, "key"); err != nil || got != "value" {
		t.Errorf("%q, %v", got, err)
	}
	if err := b.Ready(ctx); err != nil {
		t.Error(err)
	}
}

// Ready, and the verb that cannot work, tell the operator what is set up wrong.
func TestWrongSetup(t *testing.T) {
	server := newServer(t)
	config, err := os.ReadFile(server.ConfigFile())
	if err != nil {
		t.Fatal(err)
	}
	with := func(from, to string) string {
		path := filepath.Join(filepath.Dir(server.ConfigFile()), strings.Map(letters, to)+".conf")
		if err := os.WriteFile(path, []byte(strings.Replace(string(config), from, to, 1)), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	writable := filepath.Join(t.TempDir(), "writable")
	if err := os.Mkdir(writable, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(writable, 0o777); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		key  string
		set  any
		want string
	}{
		"encryption is not required": {"config_file", with("server smb encrypt = required", "server smb encrypt = desired"), `must say "server smb encrypt = required"`},
		"guests":                     {"config_file", with("map to guest = never", "map to guest = bad user"), `must say "map to guest = Never"`},
		"no shares in the registry":  {"config_file", with("registry shares = yes", "registry shares = no"), `must say "registry shares = Yes"`},
		"no smb.conf":                {"config_file", "/nowhere/smb.conf", "read the server's configuration"},
		"no programs":                {"programs", "/nowhere", "install Samba on this machine"},
		"no accounts":                {"accounts", "/nowhere", "is not a directory: make it"},
		"no folder":                  {"folder", "/nowhere", "no such file or directory"},
		"a folder for everybody":     {"folder", writable, "nobody else may write to"},
	} {
		t.Run(name, func(t *testing.T) {
			expect(t, server.backend(t, "c", map[string]any{c.key: c.set}).Ready(testContext(t)), c.want)
		})
	}
	t.Run("accounts that Samba does not see", func(t *testing.T) {
		b := server.backend(t, "c", map[string]any{"accounts": t.TempDir()})
		inst := provisioned(t, b, "i", nil)
		_, err := servicetest.Once(b).Bind(testContext(t), inst, newBinding(t, inst, "b", BindingParams{}))
		expect(t, err, "samba does not find the account of a new user")
		if err := finished(t, func() error { return servicetest.Once(b).Deprovision(testContext(t), inst) }); err != nil {
			t.Fatal(err)
		}
	})
}

func letters(r rune) rune {
	if r < 'a' || r > 'z' {
		return -1
	}
	return r
}

// Names that somebody else uses are refused.
func TestTaken(t *testing.T) {
	server, ctx := newServer(t), testContext(t)
	b := server.backend(t, "c")
	inst := newInstance("i", func(i *instance) { i.Plan.DeleteContents = true })
	dir := b.folder.path(b.names.resource(inst.Name))
	for name, make := range map[string]func() error{
		"a file":   func() error { return os.WriteFile(dir, nil, 0o600) },
		"a link":   func() error { return os.Symlink("/etc", dir) },
		"a folder": func() error { return errors.Join(os.Mkdir(dir, 0o700), os.WriteFile(dir+"/theirs", nil, 0o600)) },
	} {
		t.Run(name, func(t *testing.T) {
			if err := make(); err != nil {
				t.Fatal(err)
			}
			expect(t, servicetest.Once(b).Provision(ctx, inst), "make the share's folder")
			if err := os.RemoveAll(dir); err != nil {
				t.Fatal(err)
			}
		})
	}
	if err := finished(t, func() error { return servicetest.Once(b).Deprovision(testContext(t), inst) }); err != nil {
		t.Fatal(err)
	}
	nothingLeft(t, server, inst)
	path := filepath.Join(server.AccountsFolder(), passwdFile)
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, append(before, []byte(b.names.resource(inst.Name)+":x:700:700:somebody:/:/bin/sh\n")...), 0o644); err != nil {
		t.Fatal(err)
	}
	expect(t, servicetest.Once(b).Provision(ctx, inst), "was not made by a broker")
}
