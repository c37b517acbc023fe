package smb

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chandler-broker/chandler/embedded/embeddedtest"
	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/servicetest"
)

// Whatever a client makes is deleted with the share: reserved, long, deep and misleading
// names, files with attributes, and files that are open and locked.
func TestWhatClientsMakeIsDeleted(t *testing.T) {
	server, ctx := newServer(t), testContext(t)
	b := server.backend(t, "c")
	inst := provisioned(t, b, "i", func(i *instance) { i.Plan.DeleteContents = true })
	bd := newBinding(t, inst, "b", BindingParams{})
	c := bound(t, b, inst, bd).Values
	s := dialled(t, c)
	made := 0
	for _, name := range []string{
		"CON", "nul.txt", "trail.", " lead", "~$lock", ".hidden", "a\x01b", "ä\u0301", "🚢", "%41", strings.Repeat("x", 255), strings.Repeat("ä", 127),
		".deleted-c", "..a", "a\tb", "#snap", ".snapshot", "lost+found",
	} {
		if err := s.share.WriteFile(name, []byte("x"), 0o400); err != nil {
			t.Logf("%q: %v", name, err)
			continue
		}
		made++
	}
	if made < 10 {
		t.Errorf("only %d of the names were taken", made)
	}
	deep := ""
	for i := 0; ; i++ {
		deep = filepath.Join(deep, fmt.Sprint("d", i))
		if err := s.share.Mkdir(strings.ReplaceAll(deep, "/", `\`), 0o500); err != nil {
			t.Logf("%d folders deep", i)
			break
		}
	}
	for _, command := range []string{"put /etc/hostname flags; setmode flags +rhsa", "setea flags user.large " + strings.Repeat("e", 3000)} {
		if out, err := client(t, c, "smbclient", "//127.0.0.1/"+text(t, c, "share"), "--command="+command); err != nil {
			t.Errorf("%s: %v: %s", command[:10], err, out)
		}
	}
	if file, err := s.share.OpenFile("open", os.O_CREATE|os.O_RDWR, 0o600); err != nil {
		t.Error(err)
	} else if _, err := file.Write([]byte("x")); err != nil {
		t.Error(err)
	}
	if err := finished(t, func() error { return servicetest.Once(b).Deprovision(ctx, inst) }); err != nil {
		t.Fatal(err)
	}
	nothingLeft(t, server, inst, bd)
}

// All that a client stores is counted: attributes take blocks of the disk (on ext4 and XFS),
// and files have no streams beside their content.
func TestAttributesAreCounted(t *testing.T) {
	server := &testServer{embeddedtest.Samba(t, embeddedtest.Ext4(t, "64M", "-b", "4096"))}
	b := server.backend(t, "c")
	inst := provisioned(t, b, "i", func(i *instance) { i.Plan.DeleteContents = true; i.Plan.Storage = services.Megabyte })
	c := bound(t, b, inst, newBinding(t, inst, "b", BindingParams{})).Values
	s := dialled(t, c)
	if err := s.share.WriteFile("file:stream", []byte("x"), 0o600); err == nil {
		t.Error("a stream beside a file's content was made")
	}
	measured := func() services.Size {
		c := counter{dir: b.folder.path(b.names.resource(inst.Name))}
		if done, err := c.Advance(t.Context(), time.Now().Add(time.Minute)); !done || err != nil {
			t.Fatal(err)
		}
		return c.Amount().Bytes
	}
	s.mustWrite(t, "file", "")
	before := measured()
	out, err := client(t, c, "smbclient", "//127.0.0.1/"+text(t, c, "share"), "--command=setea file user.large "+strings.Repeat("e", 3000))
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if after := measured(); after < before+3000 {
		t.Errorf("3000 bytes of attributes took %d bytes", after-before)
	}
}
