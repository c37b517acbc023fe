package sandbox

// Mount is a folder of this machine that a call sees.
type Mount struct {
	// Path is where the code sees the folder, absolute, "/" excluded.
	Path string `json:"path"`
	// Folder is where it is on this machine, absolute.
	Folder   string `json:"folder"`
	ReadOnly bool   `json:"read_only,omitempty"`
	// Identity is what the folder was when it was mounted. A call fails with
	// InternalError when the folder is another one by now, which may be
	// somebody else's.
	Identity Identity `json:"identity"`
}

// Identity tells a folder from another one that is made later under the same
// name. The zero Identity is no folder's.
type Identity struct {
	Device uint64 `json:"device"`
	Inode  uint64 `json:"inode"`
	// Born is when the folder was made, in nanoseconds since 1970; 0 on file
	// systems that do not say.
	Born int64 `json:"born"`
}
