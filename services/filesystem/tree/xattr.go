package tree

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// Extended attributes, by name. Copies contain those of users, and access control lists.
type attributes map[string]string

const (
	userAttribute = "user."
	accessList    = "system.posix_acl_access"
	defaultList   = "system.posix_acl_default"
	// maxAttributes is how many bytes the attributes of a file may have. A header of an archive
	// has 1 MiB at most.
	maxAttributes = 900 << 10
)

func isCopied(name string) bool {
	return strings.HasPrefix(name, userAttribute) || name == accessList || name == defaultList
}

// readAttributes returns the attributes of an open file. left is how many it leaves out.
func readAttributes(f *os.File, own Owner) (found attributes, left int, err error) {
	names, err := listAttributes(f)
	if err != nil {
		return nil, 0, err
	}
	found = attributes{}
	size := 0
	for _, name := range names {
		if !isCopied(name) {
			continue
		}
		value, err := readAttribute(f, name)
		if errors.Is(err, unix.ENODATA) {
			continue
		}
		if err != nil {
			return nil, 0, fmt.Errorf("read attribute %q of %s: %w", name, quoted(f.Name()), err)
		}
		if name == accessList || name == defaultList {
			value, left = portable(value, own, left)
		}
		if size += len(name)*3 + len(value) + 64; size > maxAttributes {
			left++
			continue
		}
		found[name] = string(value)
	}
	return found, left, nil
}

func listAttributes(f *os.File) ([]string, error) {
	for {
		n, err := unix.Flistxattr(int(f.Fd()), nil)
		if n == 0 && err == nil || errors.Is(err, unix.ENOTSUP) {
			return nil, nil
		}
		text := make([]byte, n)
		if err == nil {
			n, err = unix.Flistxattr(int(f.Fd()), text)
		}
		if errors.Is(err, unix.ERANGE) { // there are more now
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("list the attributes of %s: %w", quoted(f.Name()), err)
		}
		names := strings.Split(string(text[:n]), "\x00")
		slices.Sort(names)
		return names, nil
	}
}

func readAttribute(f *os.File, name string) ([]byte, error) {
	value := make([]byte, 256)
	n, err := unix.Fgetxattr(int(f.Fd()), name, value)
	if errors.Is(err, unix.ERANGE) {
		value = make([]byte, 64<<10) // XATTR_SIZE_MAX
		n, err = unix.Fgetxattr(int(f.Fd()), name, value)
	}
	return value[:max(n, 0)], err
}

// write gives the attributes to an open file.
func (a attributes) write(f *os.File, own Owner) error {
	for name, value := range a {
		if !isCopied(name) {
			return fmt.Errorf("the copy is damaged: %s has attribute %q", quoted(f.Name()), name)
		}
		raw := []byte(value)
		if name == accessList || name == defaultList {
			raw = local(raw, own)
		}
		if err := unix.Fsetxattr(int(f.Fd()), name, raw, 0); err != nil {
			return fmt.Errorf("write attribute %q of %s: %w", name, quoted(f.Name()), err)
		}
	}
	return nil
}

// An access control list is a version and entries of a tag, rights and a number
// (include/uapi/linux/posix_acl_xattr.h). In a copy the instance's own account has the number 0.
const (
	listHeader  = 4
	listEntry   = 8
	listedUser  = 0x02 // ACL_USER
	listedGroup = 0x08 // ACL_GROUP
)

// portable returns a list without entries of accounts that exist only on this machine.
func portable(list []byte, own Owner, left int) ([]byte, int) {
	if len(list) < listHeader {
		return list, left
	}
	kept := slices.Clone(list[:listHeader])
	for e := range slices.Chunk(list[listHeader:], listEntry) {
		if len(e) == listEntry {
			id, tag := binary.LittleEndian.Uint32(e[4:]), binary.LittleEndian.Uint16(e)
			switch {
			case tag == listedUser && id == own.UID, tag == listedGroup && id == own.GID:
				e = slices.Clone(e)
				binary.LittleEndian.PutUint32(e[4:], 0)
			case tag == listedUser, tag == listedGroup:
				left++
				continue
			}
		}
		kept = append(kept, e...)
	}
	return kept, left
}

// local returns a portable list with the numbers of this machine.
func local(list []byte, own Owner) []byte {
	list = slices.Clone(list)
	for at := listHeader; at+listEntry <= len(list); at += listEntry {
		switch binary.LittleEndian.Uint16(list[at:]) {
		case listedUser:
			binary.LittleEndian.PutUint32(list[at+4:], own.UID)
		case listedGroup:
			binary.LittleEndian.PutUint32(list[at+4:], own.GID)
		}
	}
	return list
}
