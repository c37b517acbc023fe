package smb

import (
	"bytes"
	"maps"
	"os"
	"testing"
)

// A server whose IPC$ is open lets users change their own passwords: Verify makes
// the binding's work again.
func TestVerify(t *testing.T) {
	server, ctx := newServer(t), testContext(t)
	config, err := os.ReadFile(server.ConfigFile())
	if err != nil {
		t.Fatal(err)
	}
	open, _, found := bytes.Cut(config, []byte("[IPC$]"))
	if !found {
		t.Fatal("IPC$ is not closed")
	}
	if err := os.WriteFile(server.ConfigFile(), open, 0o600); err != nil {
		t.Fatal(err)
	}
	b := server.backend(t, "c")
	if err := b.samba.reload(ctx); err != nil {
		t.Fatal(err)
	}
	inst := provisioned(t, b, "i", nil)
	bd, absent := newBinding(t, inst, "b", BindingParams{}), newBinding(t, inst, "absent", BindingParams{})
	c := bound(t, b, inst, bd).Values
	const chosen = "Chosen-by-the-app1"
	mine := maps.Clone(c)
	mine["password"] = chosen
	out, err := client(t, c, "rpcclient", "127.0.0.1", "--command=chgpasswd2 "+text(t, c, "username")+" "+text(t, c, "password")+" "+chosen)
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	dialled(t, mine).mustWrite(t, "key", "value")
	if _, err := dial(ctx, c); err == nil {
		t.Fatal("the password was not changed")
	}
	for range 2 { // the second time there is nothing to do
		if err := b.Verify(ctx, inst, bd); err != nil {
			t.Fatal(err)
		}
		if got, err := dialled(t, c).Read(ctx, "key"); got != "value" || err != nil {
			t.Errorf("%q, %v", got, err)
		}
		refusesLogin(t, mine, nil)
	}
	if err := b.Verify(ctx, inst, absent); err != nil {
		t.Error(err)
	}
	if left, err := server.leftOf(ctx, absent.Name, nil); len(left) > 0 || err != nil {
		t.Errorf("made what was absent: %v, %v", left, err)
	}
	if err := finished(t, func() error { return b.Unbind(testContext(t), inst, bd) }); err != nil {
		t.Fatal(err)
	}
	refusesLogin(t, c, nil)
	refusesLogin(t, mine, nil)
}
