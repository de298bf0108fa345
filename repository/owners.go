package repository

import (
	"os/user"
	"strconv"
	"sync"
)

// owners finds the names of users and groups. It asks for each once: the answer may come from a directory server. An id without a
// name, or whose name cannot be found out, has the empty one.
type owners struct {
	user  func(id string) (*user.User, error)
	group func(id string) (*user.Group, error)

	mu     sync.Mutex
	users  map[uint32]func() string
	groups map[uint32]func() string
}

func newOwners(byUser func(string) (*user.User, error), byGroup func(string) (*user.Group, error)) *owners {
	return &owners{user: byUser, group: byGroup, users: map[uint32]func() string{}, groups: map[uint32]func() string{}}
}

// name fills in who owns a file of this machine.
func (o *owners) name(n *node) {
	n.User = o.cached(o.users, n.UID, func(id string) string {
		u, err := o.user(id)
		if err != nil {
			return ""
		}
		return u.Username
	})
	n.Group = o.cached(o.groups, n.GID, func(id string) string {
		g, err := o.group(id)
		if err != nil {
			return ""
		}
		return g.Name
	})
}

// cached does not hold the lock while it asks.
func (o *owners) cached(known map[uint32]func() string, id uint32, ask func(string) string) string {
	o.mu.Lock()
	get := known[id]
	if get == nil {
		get = sync.OnceValue(func() string { return ask(strconv.FormatUint(uint64(id), 10)) })
		known[id] = get
	}
	o.mu.Unlock()
	return get()
}
