package smb

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// errAbsent is returned by verbs that need an instance which does not exist.
var errAbsent = errors.New("the instance's share does not exist; provision the instance again")

// converge writes the share that follows from the instance's plan and accounts, after change,
// which may be nil. It is errAbsent without the instance's account, so that a late provision
// makes nothing after a deprovision. Sessions do not notice before reload or closeDenied.
func (b *backend) converge(ctx context.Context, inst instance, change func(*table, *account) error) error {
	return b.accounts.change(ctx, func(t *table) error {
		a, ok := t.find(inst.Name)
		if !ok {
			return errAbsent
		}
		if change != nil {
			if err := change(t, &a); err != nil {
				return err
			}
			t.put(a)
		}
		return b.samba.putShare(ctx, b.names.resource(inst.Name), b.section(t, a, inst.Plan))
	})
}

// section is a share as smb.conf(5) has it: parameters by name.
type section map[string]string

const readOnlyKey = "read only"

// section is an instance's share. Files belong to the instance's account and group, whoever made
// them. Only the accounts named here have access.
func (b *backend) section(t *table, a account, p Plan) section {
	// An empty list admits everybody, so it has the instance's account, which cannot log in.
	users, readers := []string{b.names.resource(a.instance)}, []string{}
	for _, bound := range t.bindings(a.instance) {
		if bound.usable() {
			users = append(users, b.names.resource(bound.name))
		}
		if bound.role == reader {
			readers = append(readers, b.names.resource(bound.name))
		}
	}
	readOnly := "no"
	if a.overQuota {
		readOnly = "yes"
	}
	return section{
		"path":                 b.folder.path(b.names.resource(a.instance)),
		"valid users":          strings.Join(users, " "),
		"read list":            strings.Join(readers, " "),
		readOnlyKey:            readOnly,
		"max connections":      strconv.Itoa(p.Connections), // 0 is no limit
		"server smb encrypt":   "required",
		"browseable":           "no",
		"guest ok":             "no",
		"inherit owner":        "yes",
		"create mask":          "0660",
		"force create mode":    "0660",
		"directory mask":       "02770",
		"force directory mode": "02770",
		"nt acl support":       "no", // rights are the share's, not a file's
		"follow symlinks":      "no", // only another program can have made one
		"wide links":           "no",
	}
}

// text is the section in the form of smb.conf.
func (s section) text(name string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "[%s]\n", name)
	for _, key := range slices.Sorted(maps.Keys(s)) {
		fmt.Fprintf(&b, "%s = %s\n", key, s[key])
	}
	return b.String()
}

// parseSections reads sections in the form of smb.conf.
func parseSections(text string) map[string]section {
	found := map[string]section{}
	var s section
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if name, ok := strings.CutPrefix(line, "["); ok {
			s = section{}
			found[strings.TrimSuffix(name, "]")] = s
		} else if key, value, ok := strings.Cut(line, "="); ok && s != nil {
			s[strings.TrimSpace(key)] = strings.TrimSpace(value)
		}
	}
	return found
}
