package action

// causeGuard wants the release to be the cause: not what was wrong before, not what is wrong
// everywhere, not what it calls, not what it runs on. That the same images fail in several clusters
// is no trouble of the fleet: it is the release.
func causeGuard(e *Engine, q *inquiry) Guard {
	c := &q.context
	switch {
	case q.unread != nil:
		return wait(codeUnread, "see that the cluster's metrics can be read",
			"its evidence could not be read")
	case c.Before != "":
		return wait(codeBefore, "look for what began before the release",
			"it did not begin with the release: %s", c.Before)
	case c.Nodes != "":
		return wait(codeNodes, "look at the nodes first", "the nodes fail: %s", c.Nodes)
	case c.Dependency != "":
		return wait(codeDependency, "look at what it calls first", "what it calls fails: %s", c.Dependency)
	case c.FleetWide == "":
		return pass("it began with the release, and only here")
	}
	if where := e.elsewhere(q); where != "" {
		return pass("it is in several clusters because the release is: also in %s", where)
	}
	return wait(codeFleetWide, "look for what unrelated services have in common",
		"unrelated services have the same trouble: %s", c.FleetWide)
}

// elsewhere names another cluster where the same release is bad.
func (e *Engine) elsewhere(q *inquiry) string {
	if q.pooled {
		for _, c := range q.record.Clusters {
			if c != q.action.Service.Cluster {
				return c
			}
		}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if b := e.bad[badKey(q.action.Service, q.action.Bad.Images)]; b != nil &&
		len(q.action.Bad.Images) > 0 && b.Cluster != q.action.Service.Cluster {
		return b.Cluster
	}
	return ""
}
