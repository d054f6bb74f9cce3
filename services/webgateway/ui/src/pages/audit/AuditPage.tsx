import { useEffect, useState } from 'react';
import { AuditTable } from '../../components/AuditTable';
import { usePatchSearch, useSearch } from '../../lib/search';

export function AuditPage() {
  const search = useSearch();
  const patch = usePatchSearch();
  const [subject, setSubject] = useState(search.subject ?? '');
  const [actor, setActor] = useState(search.actor ?? '');
  useEffect(() => {
    const timer = setTimeout(() => patch({ subject: subject || undefined, actor: actor || undefined }), 250);
    return () => clearTimeout(timer);
  }, [subject, actor, patch]);
  return (
    <>
      <div className="page-head">
        <h1>Audit</h1>
        <input
          className="field"
          type="search"
          placeholder="On what"
          aria-label="On what"
          value={subject}
          onChange={(event) => setSubject(event.target.value)}
        />
        <input
          className="field"
          type="search"
          placeholder="Who"
          aria-label="Who"
          value={actor}
          onChange={(event) => setActor(event.target.value)}
        />
      </div>
      <div className="page-table">
        <AuditTable subject={search.subject} actor={search.actor} />
      </div>
    </>
  );
}
