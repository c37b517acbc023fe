package smb

import "errors"

// snapshotPrefix begins the name of the snapshot of a share that is being copied, beside the
// share's folder.
const snapshotPrefix = ".copy-"

// still returns a directory with what the share's folder holds, and what removes it: a snapshot
// on btrfs, else the folder, which changes meanwhile.
func (f folder) still(share string) (dir string, remove func() error, err error) {
	if err := f.removeSnapshot(share); err != nil { // which a crash left
		return "", nil, err
	}
	volumes := f.volumes()
	if group, err := volumes.Group(share); err != nil || group == 0 {
		return f.path(share), func() error { return nil }, err
	}
	if err := volumes.Snapshot(share, snapshotPrefix+share); err != nil {
		return "", nil, errors.Join(err, f.removeSnapshot(share))
	}
	return f.path(snapshotPrefix + share), func() error { return f.removeSnapshot(share) }, nil
}

// removeSnapshot removes a share's snapshot with its quota group, if there is one.
func (f folder) removeSnapshot(share string) error {
	volumes := f.volumes()
	group, err := volumes.Group(snapshotPrefix + share)
	if err != nil || group == 0 {
		return err
	}
	if _, err := volumes.Remove(snapshotPrefix + share); err != nil {
		return err
	}
	return volumes.RemoveGroup(group)
}
