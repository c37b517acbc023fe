package smb

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// section is a share as smb.conf(5) has it: parameters by name.
type section map[string]string

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
			continue
		}
		if key, value, ok := strings.Cut(line, "="); ok && s != nil {
			s[strings.TrimSpace(key)] = strings.TrimSpace(value)
		}
	}
	return found
}

// share is what a section says about an instance beyond its accounts.
type share struct {
	full        bool // over its quota, and read-only
	connections int
}

const (
	readOnlyKey    = "read only"
	connectionsKey = "max connections"
)

func shareOf(s section) share {
	connections, _ := strconv.Atoi(s[connectionsKey]) // 0 is no limit, and what Samba makes of nonsense
	return share{full: s[readOnlyKey] == "yes", connections: connections}
}

// section is the share of an instance and its bindings. Files belong to the instance's account
// and group, whoever made them, and only the accounts that are named here have access.
func (s share) section(path string, names namer, instance account, bindings []account) section {
	// The instance's account cannot log in. It is here because an empty list admits
	// everybody.
	users, readers := []string{names.of(instance.name)}, []string{}
	for _, a := range bindings {
		switch a.role {
		case reader:
			readers = append(readers, names.of(a.name))
			users = append(users, names.of(a.name))
		case writer:
			users = append(users, names.of(a.name))
		}
	}
	readOnly := "no"
	if s.full {
		readOnly = "yes"
	}
	return section{
		"path":                 path,
		"valid users":          strings.Join(users, " "),
		"read list":            strings.Join(readers, " "),
		readOnlyKey:            readOnly,
		connectionsKey:         strconv.Itoa(s.connections),
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
