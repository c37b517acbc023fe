package smb

import "sync"

// backend administers one server. What exists is asked of the server and of its
// accounts each time; only the scans are kept, which a new process begins again.
type backend struct {
	server   server
	samba    samba
	accounts accounts
	folder   folder
	names    namer
	told     told

	round sync.Mutex       // of Reconcile: a scan is one's at a time
	turn  int              // where in its batch the next round begins
	mu    sync.Mutex       // of scans
	scans map[string]*scan // by Instance.Name
}

func open(c Config) (*backend, error) {
	public := c.Address
	if c.PublicAddress != "" {
		public = c.PublicAddress
	}
	told, err := newTold(public)
	if err != nil {
		return nil, err
	}
	names := newNamer(c.Prefix)
	return &backend{
		server:   server(c.Address),
		samba:    samba{programs: c.Programs, config: c.ConfigFile},
		accounts: accounts{dir: c.Accounts, first: c.FirstID, last: c.LastID, names: names},
		folder:   newFolder(c.Folder, c.Prefix),
		names:    names,
		told:     told,
		scans:    map[string]*scan{},
	}, nil
}
