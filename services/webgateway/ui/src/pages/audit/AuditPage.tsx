import { useEffect, useState } from 'react';
import { AuditTable } from '../../components/AuditTable';
import { FilterField } from '../../components/ui';
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
        <FilterField label="On what" width={220} value={subject} onChange={setSubject} />
        <FilterField label="Who" width={220} value={actor} onChange={setActor} />
      </div>
      <div className="page-table">
        <AuditTable
          subject={search.subject}
          actor={search.actor}
          onClear={() => (setSubject(''), setActor(''))}
        />
      </div>
    </>
  );
}
