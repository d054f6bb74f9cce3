select * from planets where name = '{{ params.planet }}' and day = '{{ ds }}'
